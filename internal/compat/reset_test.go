// SPDX-License-Identifier: Apache-2.0

// This file compares how clients read the error codes with which a server resets HTTP/2 streams.

package compat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// resetCodes are the codes of RFC 9113, section 7, and one that it does not have.
var resetCodes = []http2.ErrCode{
	http2.ErrCodeNo, http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeFlowControl, http2.ErrCodeSettingsTimeout,
	http2.ErrCodeStreamClosed, http2.ErrCodeFrameSize, http2.ErrCodeRefusedStream, http2.ErrCodeCancel, http2.ErrCodeCompression,
	http2.ErrCodeConnect, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeInadequateSecurity, http2.ErrCodeHTTP11Required, 99,
}

// TestReset covers item 80.
func TestReset(t *testing.T) {
	for _, d := range dialects {
		if d.wire.json {
			continue
		}
		for _, kind := range []script.Kind{script.Unary, script.ServerStream, script.BidiStream} {
			for _, started := range []bool{false, true} {
				for _, code := range resetCodes {
					if !started && (code == http2.ErrCodeRefusedStream || code == http2.ErrCodeProtocol) {
						// net/http sends the request again, for ever.
						continue
					}
					t.Run(fmt.Sprintf("80 %s %s started=%v %v", d.name, kind, started, code), func(t *testing.T) {
						var contentType string
						if started {
							contentType = header(d.wireFor(kind).header).Get("Content-Type")
						}
						url := resetServer(t, code, contentType)
						transport := &http.Transport{Protocols: new(http.Protocols)}
						transport.Protocols.SetUnencryptedHTTP2(true)
						defer transport.CloseIdleConnections()
						client := &http.Client{Transport: transport}
						call := script.Call{Kind: kind, Messages: []string{"hello"}, URL: url}
						want := onlyErrors(doTheirs(t.Context(), client, d.client, call).Lines)
						judge(t, want, onlyErrors(doOurs(t.Context(), client, d.client, call).Lines))
						judgeBy(t, listedOfDropIn, want, onlyErrors(doDropIn(t.Context(), client, d.client, call).Lines))
					})
				}
			}
		}
	}
}

// onlyErrors leaves out lines with the server's port.
func onlyErrors(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if strings.HasPrefix(line, "error ") {
			kept = append(kept, line)
		}
	}
	return kept
}

// resetServer accepts HTTP/2 connections and resets every stream when its
// request has ended; with a content type it sends response headers before.
func resetServer(t *testing.T, code http2.ErrCode, contentType string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if err := resetStreams(conn, code, contentType); err != nil && !errors.Is(err, io.EOF) {
					t.Logf("reset server: %v", err)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func resetStreams(conn net.Conn, code http2.ErrCode, contentType string) error {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = framer.WritePing(true, frame.Data)
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				err = reset(framer, frame.StreamID, code, contentType)
			}
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				err = reset(framer, frame.StreamID, code, contentType)
			}
		}
		if err != nil {
			return err
		}
	}
}

func reset(framer *http2.Framer, stream uint32, code http2.ErrCode, contentType string) error {
	if contentType != "" {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, field := range []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: contentType}} {
			if err := encoder.WriteField(field); err != nil {
				return err
			}
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
	}
	return framer.WriteRSTStream(stream, code)
}
