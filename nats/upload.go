// SPDX-License-Identifier: Apache-2.0

// The bodies of requests, on the client's side.

package natsrpc

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// An upload reads the body of a request, in a goroutine of its own, and sends it. The end of
// the call closes the body, which ends a Read. [http.Request.Body] has to allow that.
type upload struct {
	st      *stream
	r       *http.Request
	closing sync.Once
}

// run reads the body until its end or that of the call.
func (u *upload) run() {
	err := u.copy()
	u.close()
	if err != nil {
		u.st.fail(err, errorf(connect.CodeCanceled, "the client cannot send the rest of its request"))
	}
}

// copy moves the body into the call.
func (u *upload) copy() error {
	st := u.st
	memory := make([]byte, 2<<10) // at first, so that a stream that waits holds little
	for read := int64(0); ; {
		n, err := u.r.Body.Read(memory)
		read += int64(n)
		if length := u.r.ContentLength; length > 0 {
			switch {
			case read > length:
				return tooLong(length)
			case err == io.EOF && read < length:
				return tooShort(length)
			}
		}
		if err != nil && err != io.EOF {
			return err
		}
		p := part{body: memory[:n], end: err == io.EOF}
		if p.end && len(u.r.Trailer) > 0 {
			p.trailer = make(nats.Header)
			if err := packFields(p.trailer, fieldTrailerPrefix, u.r.Trailer, nil); err != nil {
				return err
			}
		}
		if _, err := st.writePart(p); err != nil || p.end {
			return nil // an error has ended the call already, or the response is complete
		}
		if n == len(memory) && n < maxFrame {
			memory = make([]byte, min(4*n, maxFrame))
		}
	}
}

func (u *upload) close() {
	u.closing.Do(func() { closeBody(u.r) })
}

// wholeBody reads a short body in memory.
func wholeBody(r *http.Request) ([]byte, error) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, tooShort(r.ContentLength)
	} else if err != nil {
		return nil, err
	}
	var more [1]byte
	if n, err := r.Body.Read(more[:]); n > 0 {
		return nil, tooLong(r.ContentLength)
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	closeBody(r)
	return body, nil
}

func tooShort(length int64) error {
	return fmt.Errorf("natsrpc: the request's body ends before its ContentLength of %d: %w", length, io.ErrUnexpectedEOF)
}

func tooLong(length int64) error {
	return fmt.Errorf("natsrpc: the request's body is longer than its ContentLength of %d", length)
}

// inMemory reports whether reading a body never waits: it is one of bytes, or one whose
// method InMemory reports it, as those of package connect do.
func inMemory(body io.Reader) bool {
	switch b := body.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return true
	case direct.MemoryBody:
		return b.InMemory(body)
	}
	v := reflect.ValueOf(body)
	if t := v.Type(); t != nopCloser && t != nopCloserWriterTo {
		return false
	}
	inner, ok := v.Field(0).Interface().(io.Reader)
	return ok && inner != nil && inMemory(inner)
}

// The types that [io.NopCloser] returns.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(struct{ io.Reader }{}))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)
