// SPDX-License-Identifier: Apache-2.0

// This file holds the compressions and the codecs that the tests add to both libraries.

package script

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
)

// GzipWriter returns a gzip compressor.
func GzipWriter() *gzip.Writer { return gzip.NewWriter(io.Discard) }

// CountingGzip is a gzip decompressor that counts the bytes that it inflates.
type CountingGzip struct {
	Counter *Counter
	reader  gzip.Reader
}

func (c *CountingGzip) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.Counter.N += int64(n)
	return n, err
}

// Close and Reset have the meaning that both libraries give them.
func (c *CountingGzip) Close() error            { return c.reader.Close() }
func (c *CountingGzip) Reset(r io.Reader) error { return c.reader.Reset(r) }

// ReverseReader undoes ReverseWriter.
type ReverseReader struct {
	source io.Reader
	rest   *bytes.Reader
}

func (r *ReverseReader) Read(p []byte) (int, error) {
	if r.rest == nil {
		all, err := io.ReadAll(r.source)
		if err != nil {
			return 0, err
		}
		slices.Reverse(all)
		r.rest = bytes.NewReader(all)
	}
	return r.rest.Read(p)
}

// Close does nothing.
func (r *ReverseReader) Close() error { return nil }

// Reset starts over with another source.
func (r *ReverseReader) Reset(source io.Reader) error {
	r.source, r.rest = source, nil
	return nil
}

// ReverseWriter is a compressor that writes the bytes in reverse order when closed.
type ReverseWriter struct {
	sink io.Writer
	all  []byte
}

func (w *ReverseWriter) Write(p []byte) (int, error) {
	w.all = append(w.all, p...)
	return len(p), nil
}

// Close writes everything.
func (w *ReverseWriter) Close() error {
	slices.Reverse(w.all)
	_, err := w.sink.Write(w.all)
	w.all = nil
	return err
}

// Reset starts over with another sink.
func (w *ReverseWriter) Reset(sink io.Writer) { w.sink, w.all = sink, nil }

// RawCodec is the codec "raw": the file name is the payload.
type RawCodec struct{}

// Name returns "raw".
func (RawCodec) Name() string { return "raw" }

// Marshal returns the file name.
func (RawCodec) Marshal(message any) ([]byte, error) {
	context, ok := message.(*sourcecontextpb.SourceContext)
	if !ok {
		return nil, fmt.Errorf("got a %T, expected a SourceContext", message)
	}
	return []byte(context.GetFileName()), nil
}

// Unmarshal sets the file name.
func (RawCodec) Unmarshal(data []byte, message any) error {
	context, ok := message.(*sourcecontextpb.SourceContext)
	if !ok {
		return fmt.Errorf("got a %T, expected a SourceContext", message)
	}
	if bytes.HasPrefix(data, []byte("bad")) {
		return fmt.Errorf("%scannot read %q", User, data)
	}
	context.FileName = string(data)
	return nil
}

// ProtoCodec is a program's own codec with the name "proto". It fails for the file name
// "unspeakable". Of messages that are no SourceContext, such as gRPC's status, the bytes
// are in reverse order, or it fails if Status is "fails".
type ProtoCodec struct{ Status string }

// Name returns "proto".
func (ProtoCodec) Name() string { return "proto" }

// Marshal encodes a message.
func (c ProtoCodec) Marshal(message any) ([]byte, error) {
	context, ok := message.(*sourcecontextpb.SourceContext)
	if ok && context.GetFileName() != "unspeakable" {
		return proto.Marshal(context)
	}
	if ok || c.Status == "fails" {
		return nil, fmt.Errorf("%scannot write", User)
	}
	data, err := proto.Marshal(message.(proto.Message))
	slices.Reverse(data)
	return data, err
}

// Unmarshal decodes a message.
func (c ProtoCodec) Unmarshal(data []byte, message any) error {
	if context, ok := message.(*sourcecontextpb.SourceContext); ok {
		return proto.Unmarshal(data, context)
	}
	if c.Status == "fails" {
		return fmt.Errorf("%scannot read", User)
	}
	data = slices.Clone(data)
	slices.Reverse(data)
	return proto.Unmarshal(data, message.(proto.Message))
}
