// SPDX-License-Identifier: Apache-2.0

// Unix sockets: modes, groups, files that are in the way, and who calls.

//go:build unix

package server_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/server"
)

// TestUnixFile checks the mode and the group of the file, and that it goes with the server.
func TestUnixFile(t *testing.T) {
	group := strconv.Itoa(os.Getegid())
	for name, c := range map[string]struct {
		options []server.ListenOption
		want    fs.FileMode
	}{
		"default": {nil, 0o600},
		"mode":    {[]server.ListenOption{server.Mode(0o666)}, 0o666},
		"none":    {[]server.ListenOption{server.Mode(0)}, 0},
		"group":   {[]server.ListenOption{server.Mode(0o660), server.Group(group)}, 0o660},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			s := start(t, echo(), server.Listen("unix:"+path, c.options...))
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode(); got != c.want|fs.ModeSocket {
				t.Errorf("got the mode %v, want %v", got, c.want|fs.ModeSocket)
			}
			if got := int(info.Sys().(*syscall.Stat_t).Gid); got != os.Getegid() {
				t.Errorf("got the group %d, want %d", got, os.Getegid())
			}
			s.stop()
			if err := <-s.ended; err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v for the file after the end, want it removed", err)
			}
		})
	}
}

// TestUnixInTheWay has files at the socket's path. Only a socket without a process is
// replaced.
func TestUnixInTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(t *testing.T, path string)
		want string // "": the server listens
	}{
		"nothing": {func(*testing.T, string) {}, ""},
		"a socket without a process": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			_ = l.Close()
		}, ""},
		"a socket with a process": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}, "another process listens"},
		"a socket of datagrams": {func(t *testing.T, path string) {
			c, err := net.ListenPacket("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}, "not clear"},
		"a file":   {func(t *testing.T, path string) { put(t, path, []byte("precious")) }, "not a socket"},
		"a folder": {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "not a socket"},
		"a pipe":   {func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }, "not a socket"},
		"a link to a socket": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path+"2")
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			_ = l.Close()
			must(t, os.Symlink(path+"2", path))
		}, "not a socket"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			c.put(t, path)
			before, _ := os.Lstat(path)
			s := server.New(echo(), withoutLog(), server.Listen("unix:"+path))
			err := s.Open()
			defer func() { _ = s.Close() }()
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("got %v, %v, want what was there before", after, err)
			}
		})
	}
}

// TestUnixAtOnce opens servers with one path at the same time, where a killed server has left
// its socket. One gets it, and it works.
func TestUnixAtOnce(t *testing.T) {
	path := socketPath(t)
	for range 20 {
		left, err := net.Listen("unix", path)
		must(t, err)
		left.(*net.UnixListener).SetUnlinkOnClose(false)
		must(t, left.Close())
		servers, errs := make([]*server.Server, 8), make([]error, 8)
		var opening sync.WaitGroup
		for i := range servers {
			servers[i] = server.New(echo(), withoutLog(), server.Listen("unix:"+path))
			opening.Go(func() { errs[i] = servers[i].Open() })
		}
		opening.Wait()
		opened := 0
		for _, err := range errs {
			if err == nil {
				opened++
			}
		}
		if opened != 1 {
			t.Errorf("got %d servers that listen, want 1: %v", opened, errors.Join(errs...))
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Error(err)
		} else {
			_ = c.Close()
		}
		for _, s := range servers {
			must(t, s.Close())
		}
	}
}

// TestUnixLocked holds the folder's lock for longer than a server waits.
func TestUnixLocked(t *testing.T) {
	path := socketPath(t)
	folder, err := os.Open(filepath.Dir(path))
	must(t, err)
	defer folder.Close()
	must(t, syscall.Flock(int(folder.Fd()), syscall.LOCK_EX))
	if err := server.New(echo(), withoutLog(), server.Listen("unix:"+path)).Open(); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("got %v, want an error about the lock", err)
	}
}

// TestUnixReplaced puts another server's socket in the place of a server's. It stays when
// the first server ends.
func TestUnixReplaced(t *testing.T) {
	path := socketPath(t)
	s := start(t, echo(), server.Listen("unix:"+path))
	must(t, os.Remove(path))
	other, err := net.Listen("unix", path)
	must(t, err)
	defer other.Close()
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	c, err := net.Dial("unix", path)
	must(t, err)
	_ = c.Close()
}

// TestUnixPeer has the caller's credentials in handlers.
func TestUnixPeer(t *testing.T) {
	gate := func(ctx context.Context, _ connect.Spec, peer connect.Peer, _ http.Header) (context.Context, error) {
		who, ok := peer.Unix()
		if ok != (runtime.GOOS == "linux") || ok && who.PID != int32(os.Getpid()) {
			return nil, connect.NewError(connect.CodePermissionDenied, errors.New("not this process"))
		}
		return ctx, nil
	}
	s := start(t, echo(connect.WithRequestGate(gate)), server.Listen("unix:"+socketPath(t)))
	for _, http1 := range []bool{false, true} {
		if err := unary(t.Context(), newClient(transportTo(t, s.Addrs()[0], nil, http1), false, pathUnary), "a"); err != nil {
			t.Error(err)
		}
	}
}
