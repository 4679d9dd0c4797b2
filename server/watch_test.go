// SPDX-License-Identifier: Apache-2.0

// How a Server watches certificates: once for each address, and whatever the functions of
// OnReload do.

package server

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs a Server in a bubble whose listeners share certificates, as the sockets of an
// address of systemd do. Files that cannot be used are there from the start, so that the second
// read reports them. The function ends the Server.
func watched(t *testing.T, listeners int, onReload func(error)) (file string, end func()) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCertificates(file, file, []TLSOption{ReloadEvery(time.Second), OnReload(onReload)})()
	c.logger = slog.New(slog.DiscardHandler)
	s := New(http.NotFoundHandler(), Listener(newIdleListener()), Logger(c.logger))
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	s.closeListenersLocked()
	s.listeners = nil
	for range listeners {
		s.listeners = append(s.listeners, listener{newIdleListener(), c})
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return file, func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("got %v from Run, want nil", err)
		}
	}
}

// TestWatchOnce has two sockets of one address: a change needs two reads, with a pause between
// them.
func TestWatchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan error, 10)
		_, end := watched(t, 2, func(err error) { reports <- err })
		time.Sleep(time.Second + time.Second/2)
		synctest.Wait()
		if len(reports) != 0 {
			t.Errorf("got %d reports after one read, want 0", len(reports))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(reports) != 1 {
			t.Errorf("got %d reports after two reads, want 1", len(reports))
		}
		end()
	})
}

// TestOnReloadEnds has a function of OnReload that panics, then ends its goroutine, and then
// does not return: the watch goes on, and Run returns.
func TestOnReloadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := make(chan int, 10)
		release := make(chan struct{})
		n := 0
		file, end := watched(t, 1, func(error) {
			n++
			calls <- n
			switch n {
			case 1:
				panic("of the program")
			case 2:
				runtime.Goexit()
			default:
				<-release
			}
		})
		for want := 1; want <= 3; want++ {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			select {
			case got := <-calls:
				if got != want {
					t.Errorf("got call %d, want %d", got, want)
				}
			default:
				t.Errorf("got no call %d", want)
			}
			if err := os.WriteFile(file, make([]byte, want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		end()
		close(release)
	})
}
