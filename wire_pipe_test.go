// SPDX-License-Identifier: Apache-2.0

// The states of a pipe, in a bubble of testing/synctest, in which a test can find out
// whether a goroutine waits.

package connect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// task is a call that runs in a goroutine of its own.
type task struct {
	ended chan struct{}
	err   error
}

func begin(f func() error) *task {
	t := &task{ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		t.err = f()
	}()
	return t
}

// waits reports whether the call waits while no other goroutine runs.
func (k *task) waits() bool {
	synctest.Wait()
	select {
	case <-k.ended:
		return false
	default:
		return true
	}
}

func (k *task) result() error {
	<-k.ended
	return k.err
}

// inBubble runs f with a new pipe inside a synctest bubble.
func inBubble(t *testing.T, f func(t *testing.T, p *pipe, cancel context.CancelFunc)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		f(t, newPipe(ctx), cancel)
	})
}

// TestPipeGathers: one Read takes all small messages that wait, and their writers do
// not wait.
func TestPipeGathers(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		var want []byte
		for i := range 100 {
			msg := bytes.Repeat([]byte{byte(i)}, 30)
			want = append(want, msg...)
			if err := p.write(msg); err != nil {
				t.Fatal(err)
			}
			clear(msg) // a writer may use it again
		}
		got := make([]byte, 2*len(want))
		n, err := p.Read(got)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("got %d bytes, %v, want all %d", n, err, len(want))
		}
	})
}

// TestPipeWakes: a reader that waits gets each message at once.
func TestPipeWakes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		buf := make([]byte, 100)
		for range 3 {
			n := 0
			read := begin(func() (err error) { n, err = p.Read(buf); return err })
			if !read.waits() {
				t.Fatalf("nothing was written: got %v, want Read to wait", read.err)
			}
			if err := p.write([]byte("message")); err != nil {
				t.Fatal(err)
			}
			if read.waits() {
				t.Fatal("a message was written: got a Read that waits")
			}
			if read.err != nil || string(buf[:n]) != "message" {
				t.Errorf("got %q, %v", buf[:n], read.err)
			}
		}
		if n, err := p.Read(nil); n != 0 || err != nil {
			t.Errorf("an empty Read: got %d, %v, want nothing, at once", n, err)
		}
	})
}

// TestPipeBounds: a writer waits when enough is waiting, until there is room.
func TestPipeBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		msg := make([]byte, 1000)
		written := 0
		write := begin(func() error {
			for range 1000 {
				if err := p.write(msg); err != nil {
					return err
				}
				written += len(msg)
			}
			return nil
		})
		if !write.waits() {
			t.Fatalf("got %d bytes taken without a reader, want at most %d", written, pipeBuffered+prefixSize)
		}
		if written > pipeBuffered+prefixSize || written < pipeBuffered-len(msg) {
			t.Errorf("got %d bytes taken, want about %d", written, pipeBuffered)
		}
		if got := roomOf(p.buffer); got > 4*pipeBuffered {
			t.Errorf("got a buffer of %d bytes, want at most %d", got, 4*pipeBuffered)
		}
		before := written
		if _, err := p.Read(make([]byte, len(msg))); err != nil {
			t.Fatal(err)
		}
		if !write.waits() {
			t.Fatal("got all taken")
		}
		if written != before+len(msg) {
			t.Errorf("after a Read of %d bytes: got %d more taken, want as many", len(msg), written-before)
		}
		if _, err := io.CopyN(io.Discard, p, int64(1000*len(msg)-len(msg))); err != nil {
			t.Fatal(err)
		}
		if err := write.result(); err != nil {
			t.Error(err)
		}
		if got := roomOf(p.buffer); got > 4*pipeBuffered {
			t.Errorf("got a buffer of %d bytes, want at most %d", got, 4*pipeBuffered)
		}
	})
}

// TestPipeHandsOver: a large message is not copied, and its writer waits until
// it is read.
func TestPipeHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		if err := p.write([]byte("small")); err != nil {
			t.Fatal(err)
		}
		large := payloadOf(rand.New(rand.NewPCG(1, 1)), pipeBuffered+1)
		write := begin(func() error { return p.write(large) })
		if !write.waits() {
			t.Fatal("a large message: got its writer back before it was read")
		}
		if got := p.waiting(); got > len("small") {
			t.Errorf("got %d bytes copied, want none of the large message", got)
		}
		buf := make([]byte, 10)
		if n, err := p.Read(buf); err != nil || string(buf[:n]) != "small" {
			t.Errorf("got %q, %v, want the small message first", buf[:n], err)
		}
		if !write.waits() {
			t.Fatal("got the writer back before its message was read")
		}
		got := make([]byte, len(large))
		if _, err := io.ReadFull(p, got[:100]); err != nil {
			t.Fatal(err)
		}
		if !write.waits() {
			t.Fatal("got the writer back after a part of its message was read")
		}
		if roomOf(p.buffer) > pipeBuffered {
			t.Errorf("got a buffer of %d bytes, want the message handed over", roomOf(p.buffer))
		}
		if _, err := io.ReadFull(p, got[100:]); err != nil {
			t.Fatal(err)
		}
		if err := write.result(); err != nil {
			t.Fatal(err)
		}
		clear(large) // the writer may use it again
		if want := payloadOf(rand.New(rand.NewPCG(1, 1)), pipeBuffered+1); !bytes.Equal(got, want) {
			t.Error("got other bytes")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.large) > 0 {
			t.Errorf("got %d bytes of the message still held", len(p.large))
		}
	})
}

// TestPipeEnd: the sender's end comes after everything that was written.
func TestPipeEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		if err := p.write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		p.end()
		got, err := io.ReadAll(p)
		if err != nil || string(got) != "last" {
			t.Errorf("got %q, %v", got, err)
		}
		if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: got %d, %v, want %v", n, err, io.EOF)
		}
		if err := p.write([]byte("late")); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a write after the end: got %v, want an error of the program", err)
		}
	})
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		read := begin(func() error { _, err := p.Read(make([]byte, 1)); return err })
		if !read.waits() {
			t.Fatal("got a Read of nothing")
		}
		p.end()
		if err := read.result(); err != io.EOF {
			t.Errorf("a Read that waits: got %v, want %v", err, io.EOF)
		}
	})
}

// TestPipeClosed: when the transport closes the body, writers get io.EOF, also those
// that wait.
func TestPipeClosed(t *testing.T) {
	for name, size := range map[string]int{"small": 1000, "large": pipeBuffered + 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
				msg := make([]byte, size)
				write := begin(func() error {
					for {
						if err := p.write(msg); err != nil {
							return err
						}
					}
				})
				if !write.waits() {
					t.Fatalf("got %v without a reader", write.err)
				}
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				if err := write.result(); err != io.EOF {
					t.Errorf("a writer that waits: got %v, want %v", err, io.EOF)
				}
				if len(p.large) > 0 {
					t.Error("got a message still held after its writer has it back")
				}
				if err := p.write(msg); err != io.EOF {
					t.Errorf("a later write: got %v, want %v", err, io.EOF)
				}
				if n, err := p.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("Read after Close: got %d, %v, want %v", n, err, io.ErrClosedPipe)
				}
				if err := p.Close(); err != nil {
					t.Errorf("second Close: got %v", err)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		read := begin(func() error { _, err := p.Read(make([]byte, 1)); return err })
		if !read.waits() {
			t.Fatal("got a Read of nothing")
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := read.result(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a Read that waits: got %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

// TestPipeClosedAfterAll: if the transport has read a large message to its last byte,
// write succeeds, even if the transport closes the body before write runs again.
func TestPipeClosedAfterAll(t *testing.T) {
	for name, missing := range map[string]int{"all": 0, "all but a byte": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
				msg := make([]byte, pipeBuffered+1)
				write := begin(func() error { return p.write(msg) })
				if !write.waits() {
					t.Fatalf("got %v without a reader", write.err)
				}
				p.mu.Lock() // so that the writer does not wake in between
				n, err := p.copyTo(make([]byte, len(msg)-missing))
				p.readClosed = true
				p.mu.Unlock()
				if n != len(msg)-missing || err != nil {
					t.Fatalf("got %d bytes, %v", n, err)
				}
				var want error
				if missing > 0 {
					want = io.EOF
				}
				if err := p.Close(); err != nil { // which wakes the writer
					t.Fatal(err)
				}
				if err := write.result(); err != want {
					t.Errorf("got %v, want %v", err, want)
				}
			})
		})
	}
}

// TestPipeContext: when the context ends, both sides return its error. A cancelled
// request never looks complete.
func TestPipeContext(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, cancel context.CancelFunc) {
		read := begin(func() error { _, err := p.Read(make([]byte, 1)); return err })
		if !read.waits() {
			t.Fatal("got a Read of nothing")
		}
		cancel()
		if err := read.result(); !errors.Is(err, context.Canceled) {
			t.Errorf("a Read that waits: got %v, want %v", err, context.Canceled)
		}
	})
	for name, size := range map[string]int{"small": 1000, "large": pipeBuffered + 1} {
		inBubble(t, func(t *testing.T, p *pipe, cancel context.CancelFunc) {
			msg := make([]byte, size)
			write := begin(func() error {
				for {
					if err := p.write(msg); err != nil {
						return err
					}
				}
			})
			if !write.waits() {
				t.Fatalf("%s: got %v without a reader", name, write.err)
			}
			cancel()
			if err := write.result(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: a writer that waits: got %v, want %v", name, err, context.Canceled)
			}
			if len(p.large) > 0 {
				t.Errorf("%s: got a message still held after its writer has it back", name)
			}
			if n, err := p.Read(make([]byte, 10)); n != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: Read: got %d, %v, want %v", name, n, err, context.Canceled)
			}
		})
	}
	inBubble(t, func(t *testing.T, p *pipe, cancel context.CancelFunc) {
		if err := p.write([]byte("a")); err != nil {
			t.Fatal(err)
		}
		p.end()
		cancel()
		if n, err := p.Read(make([]byte, 10)); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("ended, then given up: got %d, %v, want %v", n, err, context.Canceled)
		}
	})
	inBubble(t, func(t *testing.T, p *pipe, cancel context.CancelFunc) {
		cancel()
		if err := p.write([]byte("b")); !errors.Is(err, context.Canceled) {
			t.Errorf("a write after the context's end: got %v, want %v", err, context.Canceled)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := newPipe(ctx).Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// TestPipeIntegrity: for any sizes of writes and reads, the bytes are the same, and
// after write has returned the pipe does not use the message.
func TestPipeIntegrity(t *testing.T) {
	randomly(t, 50, func(t *testing.T, r *rand.Rand) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		p := newPipe(ctx)
		writes := rand.New(rand.NewPCG(r.Uint64(), 1))
		var want []byte
		var messages [][]byte
		for range writes.IntN(200) {
			msg := payloadOf(writes, 1+writes.IntN([]int{10, 1000, 3 * pipeBuffered}[writes.IntN(3)]))
			messages = append(messages, msg)
			want = append(want, msg...)
		}
		sent := begin(func() error {
			defer p.end()
			for _, msg := range messages {
				if err := p.write(msg); err != nil {
					return err
				}
				clear(msg)
			}
			return nil
		})
		var got []byte
		for {
			buf := make([]byte, r.IntN([]int{10, 5000, 4 * pipeBuffered}[r.IntN(3)]))
			n, err := p.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := sent.result(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want %d, or they differ", len(got), len(want))
		}
	})
}

// TestPipeEndEarly: an end in the middle of a write, which only a program with a
// race makes, leaves no message behind that its writer uses again.
func TestPipeEndEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipe, _ context.CancelFunc) {
		msg := bytes.Repeat([]byte("a"), 2*pipeBuffered)
		write := begin(func() error { defer clear(msg); return p.write(msg) })
		if !write.waits() {
			t.Fatalf("got %v without a reader", write.err)
		}
		p.end()
		if _, err := p.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // a writer that wakes up has its turn
		got, err := io.ReadAll(p)
		if err != nil || bytes.Contains(got, []byte{0}) {
			t.Errorf("got %v, zeros %t, want nothing of what the writer wrote after it had its message back", err, bytes.Contains(got, []byte{0}))
		}
		_ = write.result()
	})
}

// roomOf returns how much memory a buffer has, nil or not.
func roomOf(b *buffer) int {
	if b == nil {
		return 0
	}
	return cap(b.data)
}
