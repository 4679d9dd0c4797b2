// SPDX-License-Identifier: Apache-2.0

// The memory that a server needs for each idle connection and for each stream whose
// handler waits for a message. The server runs in a process of its own, and all
// clients are grpc-go's.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

const (
	idleConnections   = 2000
	streamConnections = 50
	waitingStreams    = 5000
)

// reportMemory prints for each line of in how many bytes of memory this process
// uses: resident pages, after the runtime has returned its free memory to the system.
func reportMemory(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		runtime.GC() // twice: a pool keeps its content for one collection
		debug.FreeOSMemory()
		pages, err := residentPages()
		if err != nil {
			fmt.Fprintln(out, err)
			return
		}
		fmt.Fprintln(out, pages*os.Getpagesize())
	}
}

// residentPages reads how many pages of this process are in memory. [proc(5), statm]
func residentPages() (int, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading the memory in use: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("reading the memory in use: got %q", text)
	}
	return strconv.Atoi(fields[1])
}

// compareMemory prints the memory of each server for idle connections and waiting streams.
func compareMemory(ctx context.Context, stdout io.Writer) error {
	fmt.Fprintf(stdout, "\nmemory of a server, in KiB        an idle connection   a waiting stream\n")
	for _, name := range []string{serveOwn, serveEngine, serveNetHTTP, serveGRPCGo} {
		idle, waiting, err := memoryOf(ctx, name)
		if err != nil {
			return fmt.Errorf("measuring the memory of %s: %w", name, err)
		}
		fmt.Fprintf(stdout, "%-32s %19.1f %18.1f\n", name, idle/1024, waiting/1024)
	}
	return nil
}

// A watchedServer is a server in a process of its own that reports its memory.
type watchedServer struct {
	process *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Scanner
	address string
}

func startWatched(ctx context.Context, name string) (*watchedServer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &watchedServer{process: exec.CommandContext(ctx, program, "-serve", name, "-address", "127.0.0.1:0", "-watch")}
	s.process.Stderr = os.Stderr
	if s.ask, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	s.answers = bufio.NewScanner(out)
	line, err := s.next()
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	_, to, _ := strings.Cut(line, " serves http://")
	s.address = strings.TrimSuffix(to, benchv1connect.BenchServiceEchoProcedure)
	return s, nil
}

func (s *watchedServer) next() (string, error) {
	if !s.answers.Scan() {
		return "", errors.Join(io.ErrUnexpectedEOF, s.answers.Err())
	}
	return s.answers.Text(), nil
}

func (s *watchedServer) memory() (float64, error) {
	if _, err := io.WriteString(s.ask, "\n"); err != nil {
		return 0, err
	}
	line, err := s.next()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(line, 64)
}

func (s *watchedServer) stop() error {
	_ = s.ask.Close()
	_ = s.process.Process.Kill()
	if err := s.process.Wait(); err != nil && s.process.ProcessState == nil {
		return err
	}
	return nil
}

// memoryOf returns how many bytes a server needs for an idle connection that has
// carried a call, and for a stream whose handler waits for its second message.
func memoryOf(ctx context.Context, name string) (idle, waiting float64, err error) {
	idle, err = measureMemory(ctx, name, 1, func(ctx context.Context, address string, _ []*grpc.ClientConn) (int, error) {
		more, err := dialGRPCGo(ctx, address, idleConnections)
		context.AfterFunc(ctx, func() { closeAll(more) })
		return idleConnections, err
	})
	if err != nil {
		return 0, 0, err
	}
	waiting, err = measureMemory(ctx, name, streamConnections, func(ctx context.Context, _ string, connections []*grpc.ClientConn) (int, error) {
		for i := range waitingStreams {
			stream, err := benchv1.NewBenchServiceClient(connections[i%streamConnections]).Chat(ctx)
			if err != nil {
				return 0, err
			}
			if err := stream.Send(&benchv1.Payload{Data: []byte("a")}); err != nil {
				return 0, err
			}
			if _, err := stream.Recv(); err != nil {
				return 0, err
			}
		}
		return waitingStreams, nil
	})
	return idle, waiting, err
}

// measureMemory starts a server, opens some connections to it and calls add, which
// opens more connections or streams and returns their number. The result is the
// number of bytes that the server needs for each of these.
func measureMemory(ctx context.Context, name string, connections int, add func(ctx context.Context, address string, connections []*grpc.ClientConn) (int, error)) (each float64, err error) {
	s, err := startWatched(ctx, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opened, err := dialGRPCGo(ctx, s.address, connections)
	if err != nil {
		return 0, err
	}
	defer closeAll(opened)
	before, err := s.settled()
	if err != nil {
		return 0, err
	}
	n, err := add(ctx, s.address, opened)
	if err != nil {
		return 0, err
	}
	after, err := s.settled()
	return (after - before) / float64(n), err
}

// settled returns the memory in use once it has changed by at most a hundredth for two
// seconds. By then a server has freed the memory that it keeps for a while after a call.
func (s *watchedServer) settled() (float64, error) {
	last, err := s.memory()
	for same := 0; err == nil && same < 8; {
		time.Sleep(250 * time.Millisecond)
		var next float64
		if next, err = s.memory(); math.Abs(next-last) > last/100 {
			last, same = next, 0
		} else {
			same++
		}
	}
	return last, err
}

// dialGRPCGo opens connections, each of which has carried a call.
func dialGRPCGo(ctx context.Context, address string, n int) ([]*grpc.ClientConn, error) {
	all := make([]*grpc.ClientConn, n)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				return err
			}
			_, err = benchv1.NewBenchServiceClient(all[i]).Echo(ctx, &benchv1.Payload{Data: []byte("a")}, grpc.WaitForReady(true))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		closeAll(all)
		return nil, err
	}
	return all, nil
}

func closeAll(connections []*grpc.ClientConn) {
	for _, c := range connections {
		if c != nil {
			_ = c.Close()
		}
	}
}
