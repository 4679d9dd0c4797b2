// SPDX-License-Identifier: Apache-2.0

// Listeners of programs, in Servers that never serve.

package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
)

// An idleListener has no connections.
type idleListener struct {
	closed chan struct{}
	once   sync.Once
}

func newIdleListener() *idleListener { return &idleListener{closed: make(chan struct{})} }

func (l *idleListener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *idleListener) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *idleListener) Addr() net.Addr            { return &net.TCPAddr{} }

// TestOwnListenersAreClosed has a listener of the program's in a Server that never serves.
func TestOwnListenersAreClosed(t *testing.T) {
	for name, end := range map[string]func(*Server){
		"Close": func(s *Server) { _ = s.Close() },
		"Run after Close": func(s *Server) {
			_ = s.Close()
			_ = s.Run(context.Background())
		},
		"Close after Open": func(s *Server) { _ = s.Open(); _ = s.Close() },
		"an address that fails": func(s *Server) {
			s.settings.addresses = append([]address{s.settings.addresses[0], {name: "nowhere"}}, s.settings.addresses[1:]...)
			if err := s.Open(); err == nil {
				t.Error("got nil for a bad address, want an error")
			}
			s.settings.addresses[1].name = "127.0.0.1:0"
			if err := s.Run(context.Background()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v from Run afterwards, want that a listener is closed", err)
			}
		},
	} {
		first, second := &countingListener{idleListener: newIdleListener()}, &countingListener{idleListener: newIdleListener()}
		end(New(http.NotFoundHandler(), Listener(first), Listener(second)))
		if first.closes != 1 || second.closes != 1 {
			t.Errorf("%s: got %d and %d calls of Close of the listeners, want 1 of each", name, first.closes, second.closes)
		}
	}
}

type countingListener struct {
	*idleListener
	closes int
}

func (l *countingListener) Close() error { l.closes++; return l.idleListener.Close() }
