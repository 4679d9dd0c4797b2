// SPDX-License-Identifier: Apache-2.0

// Client is the client under test of the conformance suite: it reads calls to
// make from standard input and writes the result of each to standard output, in
// the order in which they end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/seed-b7c59c10/connect/internal/conformance/bus"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
	"github.com/seed-b7c59c10/connect/internal/conformance/wire"
)

func main() {
	parallel := flag.Int("parallel", 8, "number of calls at a time")
	engine := flag.Bool("engine", false, "speak HTTP/2 with package h2")
	nats := flag.Bool("nats", false, "call over NATS, with a proxy before the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *parallel, *engine, *nats, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance client:", err)
		os.Exit(1)
	}
}

// run makes every call that it reads from the suite, then returns.
func run(ctx context.Context, parallel int, engine, nats bool, in io.Reader, out io.Writer) error {
	var (
		calls   sync.WaitGroup
		slots   = make(chan struct{}, parallel)
		writing sync.Mutex
		failed  error // of the pipe, guarded by writing
		dials   = newTransports(engine)
	)
	defer dials.close()
	if nats {
		if dials.bus, failed = bus.Open(); failed != nil {
			return failed
		}
	}
	for ctx.Err() == nil {
		asked := &conformancev1.ClientCompatRequest{}
		if err := wire.Read(in, asked); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			response := answer(ctx, dials, asked)
			writing.Lock()
			defer writing.Unlock()
			failed = errors.Join(failed, wire.Write(out, response))
		})
	}
	calls.Wait()
	return failed
}

// answer makes one call. An error is the suite's or ours, never the call's own.
func answer(ctx context.Context, dials *transports, asked *conformancev1.ClientCompatRequest) *conformancev1.ClientCompatResponse {
	response := &conformancev1.ClientCompatResponse{TestName: asked.GetTestName()}
	result, err := invoke(ctx, dials, asked)
	if err != nil {
		response.Result = &conformancev1.ClientCompatResponse_Error{
			Error: &conformancev1.ClientErrorResult{Message: err.Error()},
		}
		return response
	}
	response.Result = &conformancev1.ClientCompatResponse_Response{Response: result}
	return response
}
