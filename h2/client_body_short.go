// SPDX-License-Identifier: Apache-2.0

// Short bodies of requests that lie in memory: read before the stream opens, so that they
// leave with the head. Reading them does not wait, which only their types can show.

package h2

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// prepare reads a short body that lies in memory. Reading any other may wait.
func (b *bodySender) prepare() error {
	if b.body == nil || b.expects || b.length <= 0 || b.length > bodyAtOnce ||
		b.trailers || !inMemory(b.body) {
		return nil
	}
	b.used = true
	whole := newChunk(int(b.length))
	whole.data = whole.data[:b.length]
	_, err := io.ReadFull(b.body, whole.data)
	if err == nil {
		err = b.checkEnd()
	} else {
		err = b.tooShort(err)
	}
	b.close()
	if err != nil {
		whole.free()
		return err
	}
	b.short = whole
	return nil
}

// The types that [io.NopCloser] returns, and net/http wraps around bodies.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(struct{ io.Reader }{}))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)

// inMemory reports whether reading a body never waits: it is one that [http.NewRequest]
// makes of bytes, or one whose InMemory reports it. A type that embeds such a body has
// its methods by promotion, and maybe a Read of its own: so types are compared, and
// InMemory gets the body itself.
func inMemory(body io.Reader) bool {
	for range 4 {
		switch b := body.(type) {
		case *bytes.Reader, *bytes.Buffer, *strings.Reader:
			return true
		case interface{ InMemory(self io.Reader) bool }:
			return b.InMemory(body)
		}
		v := reflect.ValueOf(body)
		switch t := v.Type(); {
		case t == nopCloser, t == nopCloserWriterTo:
		case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct &&
			t.Elem().PkgPath() == "net/http" && t.Elem().Name() == "readTrackingBody":
			v = v.Elem()
		default:
			return false
		}
		inner, ok := v.Field(0).Interface().(io.Reader)
		if !ok {
			return false
		}
		body = inner
	}
	return false
}

// tooShort returns the error of a read, which names the ContentLength if the body has
// ended before it.
func (b *bodySender) tooShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("h2: the request's body ends before its ContentLength of %d: %w", b.length, io.ErrUnexpectedEOF)
	}
	return err
}

func (b *bodySender) tooLong() error {
	return fmt.Errorf("h2: the request's body is longer than its ContentLength of %d", b.length)
}

// checkEnd returns an error if the body goes on after its ContentLength.
func (b *bodySender) checkEnd() error {
	n, err := b.body.Read(b.probe[:])
	if n > 0 {
		return b.tooLong()
	}
	if err != nil && err != io.EOF {
		return err
	}
	return nil
}
