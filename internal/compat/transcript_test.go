// SPDX-License-Identifier: Apache-2.0

// This file turns HTTP messages into lines for comparison, and leaves out values that differ from run to run.

package compat

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/encoding/protowire"
)

// writeHeader adds the lines of a header and leaves out the date. Of error texts and
// user agents it keeps the part that users wrote; a fixed text stands for the
// library's own.
func writeHeader(t *script.Transcript, prefix string, header http.Header) {
	header = header.Clone()
	header.Del("Date")
	for key, values := range header {
		for i, value := range values {
			switch strings.ToLower(key) {
			case "user-agent", "x-user-agent":
				values[i] = script.Text(value)
			case "grpc-message":
				text, err := url.PathUnescape(value)
				if err != nil {
					text = value
				}
				if script.Text(text) != text {
					values[i] = script.Text(text)
				}
			case "grpc-status-details-bin":
				values[i] = status(value)
			}
		}
	}
	t.Header(prefix, header)
}

// status describes an encoded google.rpc.Status: code, text, details.
func status(value string) string {
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return "not base64: " + value
	}
	var parts []string
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return "not a status: " + value
		}
		data = data[n:]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return "not a status: " + value
			}
			parts, data = append(parts, fmt.Sprintf("%d: %d", number, v)), data[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return "not a status: " + value
		}
		data = data[n:]
		if number == 2 {
			v = []byte(script.Text(string(v)))
		}
		parts = append(parts, fmt.Sprintf("%d: %q", number, v))
	}
	return strings.Join(parts, ", ")
}

// writeBody adds the lines of a body: an envelope a line for the framed
// content types, otherwise one line. Compression names the algorithm that inflates
// compressed content.
func writeBody(t *script.Transcript, contentType, compression string, body []byte) {
	framed := strings.HasPrefix(contentType, "application/grpc") || strings.HasPrefix(contentType, "application/connect+")
	if !framed {
		if len(body) > 0 && compression != "" && compression != "identity" {
			body = inflate(compression, body)
		}
		t.Add("body %s", content(strings.HasPrefix(contentType, "application/json"), body))
		return
	}
	for len(body) >= 5 {
		flags, size := body[0], binary.BigEndian.Uint32(body[1:5])
		if uint64(len(body)-5) < uint64(size) {
			break
		}
		payload := body[5 : 5+size]
		body = body[5+size:]
		if flags&1 != 0 && len(payload) > 0 {
			payload = inflate(compression, payload)
		}
		switch {
		case flags&0x80 != 0:
			t.Add("envelope %#02x", flags)
			writeTrailers(t, payload)
		default:
			isJSON := strings.HasSuffix(contentType, "json") || flags&2 != 0
			t.Add("envelope %#02x %s", flags, content(isJSON, payload))
		}
	}
	if len(body) > 0 {
		t.Add("rest %q", body)
	}
}

// writeTrailers adds the lines of a gRPC-Web trailer block with the spelling
// of its keys.
func writeTrailers(t *script.Transcript, block []byte) {
	if !bytes.HasSuffix(block, []byte("\r\n")) && len(block) > 0 {
		t.Add("trailers do not end a line")
	}
	lines := strings.Split(strings.TrimSuffix(string(block), "\r\n"), "\r\n")
	slices.SortStableFunc(lines, func(a, b string) int {
		keyA, _, _ := strings.Cut(a, ":")
		keyB, _, _ := strings.Cut(b, ":")
		return strings.Compare(keyA, keyB)
	})
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ":")
		writeHeader(t, "  trailer line", http.Header{key: {strings.TrimPrefix(value, " ")}})
	}
}

// inflate returns the content with its compression for the transcript. Two
// compressors may choose different bytes for the same content.
func inflate(compression string, data []byte) []byte {
	switch compression {
	case "gzip":
		reader, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return fmt.Appendf(nil, "not gzip: %q", data)
		}
		plain, err := io.ReadAll(reader)
		if err != nil {
			return fmt.Appendf(nil, "not gzip: %q", data)
		}
		return fmt.Appendf(nil, "gzip:%s", plain)
	case "reverse":
		plain := slices.Clone(data)
		slices.Reverse(plain)
		return fmt.Appendf(nil, "reverse:%s", plain)
	}
	return data
}

// content prints a message; JSON without insignificant space and with error
// texts reduced to the part that users wrote.
func content(isJSON bool, data []byte) string {
	if !isJSON {
		return fmt.Sprintf("%q", data)
	}
	prefix, rest, found := bytes.Cut(data, []byte("gzip:"))
	if found && len(prefix) == 0 {
		return "gzip:" + content(true, rest)
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return fmt.Sprintf("%q", data)
	}
	reduce(value)
	compact, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%q", data)
	}
	return string(compact)
}

// reduce applies script.Text to the field "message" of a Connect error,
// wherever it stands.
func reduce(value any) {
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	if text, ok := object["message"].(string); ok {
		object["message"] = script.Text(text)
	}
	reduce(object["error"])
}
