// SPDX-License-Identifier: Apache-2.0

// Package wire has the parts that the server and the client under test share: the
// pipe to the conformance suite, and translations between the suite's types and
// those of package connect.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/deflate"
	"github.com/seed-b7c59c10/connect/compress/snappy"
	"github.com/seed-b7c59c10/connect/compress/zstd"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
)

// maxMessage bounds a message that the suite sends over the pipe, in bytes.
const maxMessage = 64 << 20

// typePrefix makes a message name a type URL.
const typePrefix = "type.googleapis.com/"

// Read reads one message and its four-byte, big-endian length. It returns
// io.EOF between messages only.
func Read(r io.Reader, into proto.Message) error {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(prefix[:])
	if size > maxMessage {
		return fmt.Errorf("reading a message from the suite: %d bytes, expected at most %d", size, maxMessage)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("reading a message from the suite: %w", io.ErrUnexpectedEOF)
	}
	return proto.Unmarshal(data, into)
}

// Write writes one message and its length, in one call.
func Write(w io.Writer, message proto.Message) error {
	data, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4, 256), message)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	_, err = w.Write(data)
	return err
}

// Compression is the name of an algorithm and the option that adds it to either
// side. For gzip, which is built in, the option is nil; identity has no name.
func Compression(c conformancev1.Compression) (name string, option connect.Option, err error) {
	switch c {
	case conformancev1.Compression_COMPRESSION_UNSPECIFIED, conformancev1.Compression_COMPRESSION_IDENTITY:
		return "", nil, nil
	case conformancev1.Compression_COMPRESSION_GZIP:
		return "gzip", nil, nil
	case conformancev1.Compression_COMPRESSION_BR:
		return br.Name, br.With(), nil
	case conformancev1.Compression_COMPRESSION_ZSTD:
		return zstd.Name, zstd.With(), nil
	case conformancev1.Compression_COMPRESSION_DEFLATE:
		return deflate.Name, deflate.With(), nil
	case conformancev1.Compression_COMPRESSION_SNAPPY:
		return snappy.Name, snappy.With(), nil
	}
	return "", nil, fmt.Errorf("unknown compression %v", c)
}

// AddHeaders adds the suite's headers to an HTTP header.
func AddHeaders(to http.Header, from []*conformancev1.Header) {
	for _, h := range from {
		for _, value := range h.GetValue() {
			to.Add(h.GetName(), value)
		}
	}
}

// Headers is an HTTP header, or a query, in the suite's terms, sorted by name.
func Headers[H ~map[string][]string](from H) []*conformancev1.Header {
	list := make([]*conformancev1.Header, 0, len(from))
	for _, name := range slices.Sorted(maps.Keys(from)) {
		list = append(list, &conformancev1.Header{Name: name, Value: from[name]})
	}
	return list
}

// ToError makes the error that a handler returns by the suite's definition, with
// more details behind its own.
func ToError(from *conformancev1.Error, more ...proto.Message) (*connect.Error, error) {
	to := connect.NewError(connect.Code(from.GetCode()), errors.New(from.GetMessage()))
	details := make([]proto.Message, 0, len(from.GetDetails())+len(more))
	for _, detail := range from.GetDetails() {
		details = append(details, detail)
	}
	for _, message := range append(details, more...) {
		detail, err := connect.NewErrorDetail(message)
		if err != nil {
			return nil, err
		}
		to.AddDetail(detail)
	}
	return to, nil
}

// FromError is an error of a call in the suite's terms, or nil for nil.
func FromError(err error) *conformancev1.Error {
	if err == nil {
		return nil
	}
	to := &conformancev1.Error{Code: conformancev1.Code(connect.CodeOf(err)), Message: proto.String(err.Error())}
	if from, ok := errors.AsType[*connect.Error](err); ok {
		to.Message = proto.String(from.Message())
		for _, detail := range from.Details() {
			to.Details = append(to.Details, &anypb.Any{TypeUrl: typePrefix + detail.Type(), Value: detail.Bytes()})
		}
	}
	return to
}
