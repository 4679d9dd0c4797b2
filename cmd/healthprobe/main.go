// SPDX-License-Identifier: Apache-2.0

// Healthprobe checks the health service of a server once, for probes of containers and for
// scripts. It prints the status on the standard output, or the error on the standard error,
// and ends with one of these codes, which are those of grpc_health_probe:
//
//	0  the service is serving
//	1  the flags make no sense
//	2  no connection: the name, the address, TLS, or -connect-timeout
//	3  the call failed: the server does not have the service, or -rpc-timeout
//	4  the service has another status
//
// A server of any library will do:
//
//	healthprobe -addr localhost:8080
//	healthprobe -addr https://api.acme.com -service acme.foo.v1.FooService
//	healthprobe -addr unix:///run/acme.sock
//
// The protocol is gRPC, over HTTP/2; -protocol chooses another one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptrace"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/health"
)

// The codes with which the program ends.
const (
	exitServing = iota
	exitFlags
	exitConnection
	exitCall
	exitNotServing
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, and returns its code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitServing
	}
	if err != nil {
		fmt.Fprintf(stderr, "healthprobe: %v\n", err)
		return exitFlags
	}
	if s.version {
		fmt.Fprintln(stdout, connect.ModuleVersion)
		return exitServing
	}
	transport, err := s.transport()
	if err != nil {
		fmt.Fprintf(stderr, "healthprobe: %v\n", err)
		return exitFlags
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var connected, late atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if !connected.Swap(true) {
			time.AfterFunc(s.rpcTimeout, func() { late.Store(true); cancel() })
		}
	}})
	status, err := s.check(ctx, transport)
	if err != nil && late.Load() {
		err = fmt.Errorf("no answer within -rpc-timeout %v", s.rpcTimeout)
	}
	switch {
	case err != nil && !connected.Load():
		fmt.Fprintf(stderr, "healthprobe: connect to %s: %v\n", s.addr, err)
		return exitConnection
	case err != nil:
		fmt.Fprintf(stderr, "healthprobe: check service %q of %s: %v\n", s.service, s.addr, err)
		return exitCall
	}
	fmt.Fprintln(stdout, status)
	if status != health.StatusServing {
		return exitNotServing
	}
	return exitServing
}
