// SPDX-License-Identifier: Apache-2.0

// The declared length of a body. [RFC 9110, section 8.6]

package natsrpc

import (
	"errors"
	"fmt"
	"io"
)

var (
	errCutBody  = fmt.Errorf("natsrpc: the body ends before its Content-Length: %w", io.ErrUnexpectedEOF)
	errLongBody = errors.New("natsrpc: the body is longer than its Content-Length")
)

// A bodyLength checks that a peer's body has as many bytes as its Content-Length.
type bodyLength struct {
	left int64 // bytes until there; negative: none is declared
	long bool  // there are more
}

// read reads from a stream: no more bytes than are declared, and an error in the place of
// io.EOF if there are fewer.
func (l *bodyLength) read(st *stream, p []byte) (int, error) {
	if l.long {
		return 0, errLongBody
	}
	n, err := st.readBody(p)
	switch {
	case l.left < 0:
		return n, err
	case int64(n) > l.left:
		l.long = true
		return int(l.left), errLongBody
	}
	if l.left -= int64(n); l.left > 0 && err == io.EOF {
		return n, errCutBody
	}
	return n, err
}
