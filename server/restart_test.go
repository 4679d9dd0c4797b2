// SPDX-License-Identifier: Apache-2.0

// Restarts: processes take each other's place while calls are made, and no call is lost.

//go:build unix

package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
	"github.com/seed-b7c59c10/connect/server"
)

// processPatience bounds the waits for processes: it decides nothing when they work.
const processPatience = 2 * time.Minute

// A process is a server in a process of its own.
type process struct {
	*exec.Cmd
	output bytes.Buffer
	states *net.UnixConn // where the process reports to, as to systemd
}

// startProcess starts a server and waits until it serves. If socket is not nil the process
// gets it as systemd would pass it.
func startProcess(t *testing.T, address string, socket *os.File) *process {
	t.Helper()
	folder, err := os.MkdirTemp("", "n")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	notify := filepath.Join(folder, "n")
	states, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = states.Close() })
	must(t, states.SetReadDeadline(time.Now().Add(processPatience)))
	program, err := os.Executable()
	must(t, err)
	p := &process{Cmd: exec.Command(program), states: states}
	if socket != nil {
		// The shell becomes the program: its number is the program's.
		p.Cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec "$0"`, program)
		p.ExtraFiles = []*os.File{socket}
	}
	p.Env = append(os.Environ(), childVariable+"="+address, "NOTIFY_SOCKET="+notify, "GORACE=atexit_sleep_ms=0")
	p.Stdout, p.Stderr = &p.output, &p.output
	must(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	if got := p.state(t); got != "READY=1" {
		t.Fatalf("got the state %q, want READY=1", got)
	}
	return p
}

func (p *process) state(t *testing.T) string {
	t.Helper()
	buffer := make([]byte, 100)
	n, err := p.states.Read(buffer)
	if err != nil {
		t.Fatalf("waiting for the process's state: %v; it wrote %s", err, p.output.String())
	}
	return string(buffer[:n])
}

// terminate has the process drain, and waits for its end.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	must(t, p.Process.Signal(syscall.SIGTERM))
	if got := p.state(t); got != "STOPPING=1" {
		t.Errorf("got the state %q, want STOPPING=1", got)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("got %v from the process, want nil; it wrote %s", err, p.output.String())
	}
}

// kill ends the process at once.
func (p *process) kill(t *testing.T) {
	t.Helper()
	must(t, p.Process.Kill())
	_ = p.Wait()
}

// callers make calls until stop is called, which returns how many there were.
func callers(t *testing.T, c *client) (made *atomic.Int64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), processPatience)
	done := make(chan struct{})
	made = new(atomic.Int64)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := unary(ctx, c, "a"); err != nil {
					t.Errorf("after %d calls: got %v, want an answer", made.Load(), err)
					return
				}
				made.Add(1)
			}
		})
	}
	var once sync.Once
	stop = func() { once.Do(func() { close(done); working.Wait(); cancel() }) }
	t.Cleanup(stop)
	return made, stop
}

// pace waits until callers have made some more calls, or a call has failed.
func pace(t *testing.T, made *atomic.Int64) {
	for goal := made.Load() + 200; made.Load() < goal && !t.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

// TestRestart ends processes by a signal, and starts others on the socket that systemd keeps.
// The callers have no policy of retries.
func TestRestart(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			l, err := net.Listen(network, address)
			must(t, err)
			defer l.Close()
			socket, err := l.(interface{ File() (*os.File, error) }).File()
			must(t, err)
			defer socket.Close()
			p := startProcess(t, "systemd:web", socket)
			made, stop := callers(t, newClient(transportTo(t, l.Addr(), nil, false), false, pathUnary))
			for range 2 {
				pace(t, made)
				p.terminate(t)
				p = startProcess(t, "systemd:web", socket)
			}
			pace(t, made)
			stop()
			p.terminate(t)
			t.Logf("%d calls", made.Load())
		})
	}
}

// TestKill kills processes, which leave their socket's file behind, and starts others. The
// callers repeat what was lost.
func TestKill(t *testing.T) {
	path := socketPath(t)
	p := startProcess(t, "unix:"+path, nil)
	transport := h2.NewTransport(&h2.TransportConfig{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
			select { // as a client that waits for its server
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	}})
	defer transport.Close()
	policy := retry.New(retry.Attempts(5), retry.Backoff(time.Millisecond, time.Millisecond, 1), retry.Ratio(1, 10000))
	made, stop := callers(t, newClient(transport, false, pathUnary, connect.WithInterceptors(policy), connect.WithIdempotency(connect.IdempotencyIdempotent)))
	for range 2 {
		pace(t, made)
		p.kill(t)
		p = startProcess(t, "unix:"+path, nil)
	}
	pace(t, made)
	stop()
	p.terminate(t)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the socket's file after the end, want it removed", err)
	}
	t.Logf("%d calls", made.Load())
}

// TestSoak runs servers one after the other under callers of all kinds that cancel, time out,
// and do not read. Each server ends, and the last one answers.
func TestSoak(t *testing.T) {
	const servers, callersOfEach = 10, 12
	for i := range servers {
		path := socketPath(t)
		s := server.New(echo(), withoutLog(), server.Listen("unix:"+path), server.Grace(time.Duration(i%3)*10*time.Millisecond))
		must(t, s.Open())
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		var working sync.WaitGroup
		var made atomic.Int64
		for j := range callersOfEach {
			transport := transportTo(t, s.Addrs()[0], nil, j%4 == 3)
			options := protocols[[]string{"connect", "grpc", "grpcweb"}[j%3]]
			working.Go(func() {
				for range 10 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+j)*time.Millisecond)
					soakCall(ctx, j, transport, options)
					cancel()
					made.Add(1)
				}
				closeTransport(transport)
			})
		}
		for made.Load() < callersOfEach*5 {
			time.Sleep(time.Millisecond) // ends the server in the middle
		}
		if i%4 == 3 {
			must(t, s.Close())
		}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, drain.ErrCut) {
			t.Errorf("server %d: got %v from Run, want nil or cut calls", i, err)
		}
		working.Wait()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("server %d: got %v for the socket's file, want it removed", i, err)
		}
	}
	s := start(t, echo(), server.Listen("127.0.0.1:0"))
	if err := unary(t.Context(), newClient(transportTo(t, s.Addrs()[0], nil, false), false, pathUnary), "a"); err != nil {
		t.Errorf("got %v after the soak, want an answer", err)
	}
}

// soakCall makes one call; its result is of no interest.
func soakCall(ctx context.Context, kind int, transport http.RoundTripper, options []connect.ClientOption) {
	text := []string{"a", "wait"}[kind%2]
	switch kind % 3 {
	case 0:
		_ = unary(ctx, newClient(transport, false, pathUnary, options...), text)
	case 1:
		stream, err := newClient(transport, false, pathServer, options...).CallServerStream(ctx, connect.NewRequest(&message{Value: text}))
		if err != nil {
			return
		}
		if kind%4 < 2 {
			<-ctx.Done() // a peer that does not read
		}
		for stream.Receive() {
		}
		_ = stream.Close()
	case 2:
		sender := newClient(transport, false, pathClient, options...).CallClientStream(ctx)
		for range kind {
			if sender.Send(&message{Value: fmt.Sprint(kind)}) != nil {
				break
			}
		}
		_, _ = sender.CloseAndReceive()
	}
}
