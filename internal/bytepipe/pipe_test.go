// SPDX-License-Identifier: Apache-2.0

// What a Pipe promises: order, the window, both ends of both sides, deadlines.

package bytepipe_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/internal/bytepipe"
)

var (
	errReader = errors.New("of reads")
	errWriter = errors.New("of writes")
)

// TestOrder moves random pieces: all bytes arrive, in order, and then the end.
func TestOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			want := make([]byte, random.IntN(1<<20))
			for i := range want {
				want[i] = byte(random.Uint32())
			}
			var p bytepipe.Pipe
			go func() {
				pieces := rand.New(rand.NewPCG(seed, 2))
				for rest := want; len(rest) > 0; {
					n := min(len(rest), 1+pieces.IntN(1<<uint(1+pieces.IntN(18))))
					if written, err := p.Write(rest[:n]); written != n || err != nil {
						t.Errorf("seed %d: got %d and %v of a write of %d", seed, written, err, n)
					}
					rest = rest[n:]
				}
				p.CloseWrite(io.EOF, errWriter)
			}()
			var got []byte
			for {
				b := make([]byte, 1+random.IntN(1<<uint(1+random.IntN(17))))
				n, err := p.Read(b)
				got = append(got, b[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("seed %d: got %d and %v of a read", seed, n, err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("seed %d: got %d bytes, want the %d that were written", seed, len(got), len(want))
			}
			if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("seed %d: got %d and %v after the end, want io.EOF", seed, n, err)
			}
		})
	}
}

// TestWindow writes until a write waits, and reads until it goes on.
func TestWindow(t *testing.T) {
	for _, large := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var p bytepipe.Pipe
			if n, err := p.Write(make([]byte, bytepipe.Window)); n != bytepipe.Window || err != nil {
				t.Fatalf("got %d and %v, want the whole window", n, err)
			}
			size := 1
			if large {
				size = bytepipe.Window + 10
			}
			returned := false
			go func() {
				n, err := p.Write(make([]byte, size))
				returned = true
				if n != size || err != nil {
					t.Errorf("got %d and %v, want %d", n, err, size)
				}
			}()
			synctest.Wait()
			if returned {
				t.Fatal("a write beyond the window has returned")
			}
			for read := 0; read < bytepipe.Window+size; {
				n, err := p.Read(make([]byte, 9))
				if err != nil {
					t.Fatal(err)
				}
				read += n
				synctest.Wait()
				if left := bytepipe.Window + size - read; returned != (left <= bytepipe.Window) {
					t.Fatalf("got returned %t with %d bytes unread", returned, left)
				}
			}
		})
	}
}

// TestClose closes each side while the other waits, and before it comes.
func TestClose(t *testing.T) {
	for _, waits := range []bool{false, true} {
		for _, test := range []struct {
			name    string
			close   func(*bytepipe.Pipe)
			unread  int
			n       int
			err     error
			written error
		}{
			{"end", func(p *bytepipe.Pipe) { p.CloseWrite(io.EOF, errWriter) }, 0, 0, io.EOF, errWriter},
			{"end after bytes", func(p *bytepipe.Pipe) { p.CloseWrite(io.EOF, errWriter) }, 5, 5, io.EOF, errWriter},
			{"failure after bytes", func(p *bytepipe.Pipe) { p.CloseWrite(errReader, errWriter) }, 5, 5, errReader, errWriter},
			{"reader gone", func(p *bytepipe.Pipe) { p.CloseRead(errReader, errWriter) }, 5, 0, errReader, errWriter},
			{"twice", func(p *bytepipe.Pipe) {
				p.CloseRead(errReader, errWriter)
				p.CloseRead(io.EOF, io.EOF)
				p.CloseWrite(io.EOF, io.EOF)
			}, 5, 0, errReader, errWriter},
			{"end, then reader gone", func(p *bytepipe.Pipe) { p.CloseWrite(io.EOF, errWriter); p.CloseRead(errReader, io.EOF) }, 5, 0, errReader, errWriter},
		} {
			synctest.Test(t, func(t *testing.T) {
				var p bytepipe.Pipe
				_, _ = p.Write(make([]byte, test.unread))
				closing := func() { test.close(&p) }
				if waits && test.unread == 0 {
					go func() { time.Sleep(time.Second); closing() }()
				} else {
					closing()
				}
				got, err := io.ReadAll(&reader{&p, test.err})
				if len(got) != test.n || err != nil {
					t.Errorf("%s: got %d bytes and %v, want %d and %v", test.name, len(got), err, test.n, test.err)
				}
				if _, err := p.Write([]byte("x")); err != test.written || p.WriteError() != test.written {
					t.Errorf("%s: got %v of a write, want %v", test.name, err, test.written)
				}
			})
		}
	}
}

// reader turns the wanted error into io.EOF.
type reader struct {
	p    *bytepipe.Pipe
	want error
}

func (r *reader) Read(b []byte) (int, error) {
	n, err := r.p.Read(b)
	if err == io.EOF && r.want != io.EOF {
		return n, errors.New("io.EOF")
	}
	if err == r.want {
		err = io.EOF
	}
	return n, err
}

// TestCut closes the writing side while a writer waits: the reader does not see a complete
// body, and the writer sees how much was read.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p bytepipe.Pipe
		go func() {
			if n, err := p.Write(make([]byte, 1<<20)); n != 100 || err != errWriter {
				t.Errorf("got %d and %v of the write, want 100 and %v", n, err, errWriter)
			}
		}()
		n, err := io.ReadFull(&p, make([]byte, 100))
		if n != 100 || err != nil {
			t.Fatal(n, err)
		}
		p.CloseWrite(io.EOF, errWriter)
		if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("got %d and %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
	})
}

// TestLend reads bytes that are not copied, and such that are copied after all.
func TestLend(t *testing.T) {
	for _, detach := range []bool{false, true} {
		var p bytepipe.Pipe
		b := bytes.Repeat([]byte("a"), 200_000)
		p.Lend(b)
		if n, err := p.Read(make([]byte, 10)); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		want := byte('b')
		if detach {
			p.Detach()
			want = 'a'
		}
		for i := range b {
			b[i] = 'b'
		}
		got, err := io.ReadAll(&p)
		if err != nil || len(got) != len(b)-10 || got[0] != want || got[len(got)-1] != want {
			t.Errorf("detach %t: got %d bytes, %v, want %d of %q", detach, len(got), err, len(b)-10, want)
		}
	}
}

// TestDeadlines lets deadlines pass, while an operation waits and before.
func TestDeadlines(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := bytepipe.Pipe{KeepPassedDeadlines: keep}
			start := time.Now()
			p.SetReadDeadline(start.Add(time.Second))
			if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v, want the deadline after 1s", err, time.Since(start))
			}
			p.SetReadDeadline(time.Time{})
			_, _ = p.Write([]byte("x"))
			if n, err := p.Read(make([]byte, 1)); (n == 1) == keep {
				t.Errorf("keep %t: got %d and %v after a later deadline was set", keep, n, err)
			}
			p.SetWriteDeadline(time.Now().Add(time.Second))
			if n, err := p.Write(make([]byte, 1<<20)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %d and %v of a write, want the deadline", n, err)
			}
			p.SetWriteDeadline(time.Now().Add(time.Hour))
			if _, err := p.Write([]byte("y")); err != nil {
				t.Errorf("got %v of a write before its deadline", err)
			}
			p.SetReadDeadline(time.Now().Add(time.Hour))
			p.StopTimers()
		})
	}
}
