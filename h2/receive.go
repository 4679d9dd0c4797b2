// SPDX-License-Identifier: Apache-2.0

// The reading goroutine's loop: one frame after the other, each checked before it has an
// effect. [RFC 9113, sections 4 to 6]
//
// Invariants. A method that reads a frame returns an error only if the connection has to
// end, and then the rest of the frame may be unread; otherwise it has consumed the whole
// frame. An error of one stream resets that stream with rejectLocked and is no error of
// the method. [RFC 9113, section 5.4]

package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// readFrames reads until the connection is over, and returns the reason. On a server it
// also returns, with errTakenOver, when another goroutine has taken the reading over
// (see inline.go); it has touched nothing of the reader's since.
func (c *conn) readFrames() error {
	c.rd.owner.take()
	for {
		if c.rd.in.buffered() < wire.FrameHeaderLen && !c.side.batchEnded() {
			return errTakenOver
		}
		b, err := c.rd.in.peek(wire.FrameHeaderLen)
		if !c.rd.greeted && !c.accepts() {
			if err := c.checkFirstBytes(b); err != nil {
				return err
			}
		}
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h := wire.ParseFrameHeader(b)
		_ = c.rd.in.skip(wire.FrameHeaderLen)
		c.rd.bulk = h.Type == wire.FrameData && h.Length >= bulkFrame
		if err := c.frame(h); err != nil {
			return err
		}
	}
}

// checkFirstBytes returns an error that names the cause if a server's first bytes are
// those of HTTP/1.1 or of a TLS alert. As a frame header they would be a frame of four
// million bytes.
func (c *conn) checkFirstBytes(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/1.")):
		line, _ := c.rd.in.peek(min(c.rd.in.buffered(), 64))
		line, _, _ = bytes.Cut(line, []byte("\r\n"))
		return fmt.Errorf("h2: the server speaks HTTP/1.1 and not HTTP/2, it answered %q: "+
			"let it take HTTP/2 over cleartext (an http.Server does with Protocols.SetUnencryptedHTTP2), or use https or a client of HTTP/1.1", line)
	case len(b) > 1 && b[0] == tlsAlert && b[1] == tlsMajor:
		return errors.New("h2: the server speaks TLS: use a URL with https")
	}
	return nil
}

// How a TLS server begins to answer what is not TLS: an alert of any version.
// [RFC 8446, section 5.1]
const (
	tlsAlert = 21
	tlsMajor = 3
)

// frame checks a frame against the state of the connection, then reads and applies its
// payload. The first frame is SETTINGS [RFC 9113, section 3.4], no frame is longer than
// announced [section 4.2], and nothing comes between HEADERS and its CONTINUATIONs
// [section 6.10].
func (c *conn) frame(h wire.FrameHeader) error {
	c.rd.owner.assert()
	switch {
	case h.Length > c.limits.maxFrame:
		return violated(ErrCodeFrameSize, "frame of %d bytes, want at most %d", h.Length, c.limits.maxFrame)
	case c.rd.pendingHeaders.Stream != 0 && (h.Type != wire.FrameContinuation || h.Stream != c.rd.pendingHeaders.Stream):
		return violated(ErrCodeProtocol, "frame of type %d inside the header block of stream %d", h.Type, c.rd.pendingHeaders.Stream)
	case !c.rd.greeted && (h.Type != wire.FrameSettings || h.Has(wire.FlagAck)):
		return violated(ErrCodeProtocol, "first frame is of type %d, want SETTINGS", h.Type)
	}
	switch h.Type {
	case wire.FrameData:
		return c.data(h)
	case wire.FrameHeaders:
		return c.headers(h)
	case wire.FrameContinuation:
		return c.continuation(h)
	case wire.FrameSettings:
		return c.settings(h)
	case wire.FrameWindowUpdate:
		return c.windowUpdate(h)
	case wire.FrameRSTStream:
		return c.rstStream(h)
	case wire.FramePing:
		return c.pingFrame(h)
	case wire.FrameGoAway:
		return c.goAwayFrame(h)
	case wire.FramePriority:
		return c.priority(h)
	case wire.FramePushPromise:
		return violated(ErrCodeProtocol, "PUSH_PROMISE, which was not enabled")
	}
	// Unknown types are ignored [RFC 9113, section 4.1], as far as the bucket allows.
	if !c.allow(&c.rd.buckets.priority) {
		return c.flooded("frames of unknown types")
	}
	return c.rd.in.skip(h.Length)
}

// payload returns the whole payload of a frame that must have a fixed length. The bytes
// are valid until the next read.
func (c *conn) payload(h wire.FrameHeader, want int) ([]byte, error) {
	if h.Length != want {
		return nil, violated(ErrCodeFrameSize, "frame of type %d with %d bytes, want %d", h.Type, h.Length, want)
	}
	b, err := c.rd.in.peek(want)
	_ = c.rd.in.skip(len(b))
	return b, midFrame(err)
}

// unpad reads the Pad Length field, if the frame has one. It returns the length of the
// content and that of the padding that follows it. [RFC 9113, section 6.1]
func (c *conn) unpad(h wire.FrameHeader) (length, padding int, err error) {
	if !h.Has(wire.FlagPadded) {
		return h.Length, 0, nil
	}
	if h.Length == 0 {
		return 0, 0, violated(ErrCodeFrameSize, "padded frame of type %d without a length of its padding", h.Type)
	}
	b, err := c.rd.in.ReadByte()
	if err != nil {
		return 0, 0, midFrame(err)
	}
	if padding = int(b); padding >= h.Length {
		return 0, 0, violated(ErrCodeProtocol, "frame of type %d is shorter than its padding", h.Type)
	}
	return h.Length - 1 - padding, padding, nil
}

// midFrame returns the error of a read within a frame, where io.EOF is unexpected.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// allow spends a token of a bucket and reports whether there was one.
func (c *conn) allow(b *bucket) bool { return b.take(time.Now(), c.limits.burst, c.limits.rate) }

// allowWithCredit spends credit that our own frames earned the peer, or else a token: a
// peer that receives much has to send WINDOW_UPDATEs, and gRPC's clients send PINGs to
// measure the connection.
func (c *conn) allowWithCredit(b *bucket, credit *int) bool {
	c.mu.Lock()
	earned := *credit > 0
	if earned {
		*credit--
	}
	c.mu.Unlock()
	return earned || c.allow(b)
}

// flooded returns the error that ends a connection whose peer sends too many frames that
// cost it nothing. [RFC 9113, section 10.5]
func (c *conn) flooded(what string) error {
	return violated(ErrCodeEnhanceYourCalm, "too many %s", what)
}

// resetAllowedLocked spends a token for a stream that ends prematurely.
func (c *conn) resetAllowedLocked() bool { return c.allow(&c.resets) }

// reject is rejectLocked without the lock.
func (c *conn) reject(id uint32, code ErrCode, format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejectLocked(id, code, fmt.Errorf(format, args...))
}

// rejectLocked resets a stream because of what the peer sent on it, which is a stream
// error [RFC 9113, section 5.4.2]. It costs a token, as the peer's own resets do:
// otherwise a peer could provoke resets without end (CVE-2025-8671). It returns an error
// if the connection has to end.
func (c *conn) rejectLocked(id uint32, code ErrCode, cause error) error {
	c.rd.owner.assert()
	c.mu.assertHeld()
	if !c.resetAllowedLocked() {
		return c.flooded("streams that end in errors")
	}
	return c.refuseLocked(id, code, cause)
}

// refuseLocked is rejectLocked for a stream that the peer could not know would be
// refused: it costs no token.
func (c *conn) refuseLocked(id uint32, code ErrCode, cause error) error {
	c.rd.owner.assert()
	c.mu.assertHeld()
	c.count("stream_", code)
	if s := c.table.open[id]; s != nil {
		c.abortLocked(s, code, cause)
	} else if c.err == nil {
		c.appendResetLocked(id, code)
	}
	c.rd.answers = true
	return c.checkBacklogLocked()
}

// checkBacklogLocked returns an error if the peer sends frames that have to be answered
// and reads no answers.
func (c *conn) checkBacklogLocked() error {
	if len(c.writer.out) > outMax {
		return c.flooded("frames that ask for answers, while none are read")
	}
	return nil
}
