// SPDX-License-Identifier: Apache-2.0

// This file holds the writing half: Writer, over an Encoder.

package stream

import (
	"fmt"
	"io"
)

// Encoder is the encoder of a format's library. Close ends the stream and leaves
// the sink open.
type Encoder interface {
	io.WriteCloser
	Reset(sink io.Writer)
}

// Writer is a connect.Compressor over an [Encoder]. It starts closed; Reset
// opens it. Reset and Close are allowed in every state, any number of times,
// and a stream ends once.
//
// A Writer is not safe for concurrent use.
type Writer struct {
	name string
	enc  Encoder
	open bool
}

// NewWriter returns a closed Writer. The name begins its errors.
func NewWriter(name string, enc Encoder) *Writer {
	return &Writer{name: name, enc: enc}
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	if !w.open {
		return 0, w.fault(errClosed)
	}
	n, err := w.enc.Write(p)
	return n, w.fault(err)
}

// Close ends the stream and writes the rest of it.
func (w *Writer) Close() error {
	if !w.open {
		return nil
	}
	w.open = false
	return w.fault(w.enc.Close())
}

// Reset drops the current stream and starts a new one. A nil sink only drops.
func (w *Writer) Reset(sink io.Writer) {
	w.open = sink != nil
	if sink == nil {
		sink = io.Discard
	}
	w.enc.Reset(sink)
}

func (w *Writer) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("compress %s: %w", w.name, err)
}
