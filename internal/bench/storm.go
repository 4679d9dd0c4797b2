// SPDX-License-Identifier: Apache-2.0

// Servers that get three times the calls that they can serve, with and without a limit:
// how many answers come before the deadline.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/seed-b7c59c10/connect"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
	"github.com/seed-b7c59c10/connect/overload"
)

const (
	stormWorkers  = 4 // calls that a server works on at once; others wait in line
	stormWork     = 10 * time.Millisecond
	stormCapacity = int(stormWorkers * time.Second / stormWork) // calls a second
	stormRate     = 3 * stormCapacity
	stormDeadline = 200 * time.Millisecond
	stormLimit    = 2 * stormWorkers // where a limit is a number
)

// A stormEntry names a server and opens it with a client of the same library.
type stormEntry struct {
	name string
	open func(m *stormMachine) (*stormSite, error)
}

// A stormSite is a server and its client.
type stormSite struct {
	call    echoCall
	close   func() error
	limiter *overload.Limiter // nil without one
}

// grpc-go has no limit of calls that refuses. The nearest that it has is a limit of
// streams for each connection, beyond which its client waits; an interceptor that refuses
// is the program's.
var stormEntries = []stormEntry{
	{"ours, no limit", stormOurs(nil)},
	{fmt.Sprintf("ours, overload.Fixed(%d)", stormLimit), stormOurs(overload.Fixed(stormLimit))},
	{fmt.Sprintf("ours, overload.Adaptive(%d, 1000)", stormWorkers), stormOurs(overload.Adaptive(stormWorkers, 1000))},
	{"grpc-go, no limit", func(m *stormMachine) (*stormSite, error) { return stormGRPCGo(m) }},
	{fmt.Sprintf("grpc-go, MaxConcurrentStreams(%d)", stormLimit), func(m *stormMachine) (*stormSite, error) {
		return stormGRPCGo(m, grpc.MaxConcurrentStreams(stormLimit))
	}},
	{fmt.Sprintf("grpc-go, interceptor by hand, %d", stormLimit), func(m *stormMachine) (*stormSite, error) {
		return stormGRPCGo(m, grpc.UnaryInterceptor(refuseBeyond(stormLimit)))
	}},
}

// A stormRow counts what became of an entry's calls.
type stormRow struct {
	name    string
	made    int
	good    int // answered before the deadline
	refused int
	expired int
	other   int
	first   error           // of other
	took    []time.Duration // of the good answers, sorted
	long    time.Duration   // in which the calls were made

	served  int64  // calls that the server has worked on, also in the warm-up
	limited uint64 // calls that our limiter has refused, also in the warm-up
}

// compareStorm measures each entry for a while, after a warm-up, and prints the rows.
func compareStorm(ctx context.Context, stdout io.Writer, warmUp, long time.Duration) ([]stormRow, error) {
	fmt.Fprintln(stdout, describeMachine(time.Now()))
	fmt.Fprintf(stdout, "\na server of %d workers that need %v for a call, %d/s; %d calls/s with a deadline of %v, %v each. All speak gRPC.\n",
		stormWorkers, stormWork, stormCapacity, stormRate, stormDeadline, long)
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tgood/s\trefused/s\texpired/s\tother/s\tp50 ms\tp99 ms\t")
	var rows []stormRow
	for _, e := range stormEntries {
		row, err := measureStorm(ctx, e, warmUp, long)
		if err != nil {
			return nil, fmt.Errorf("measuring %s: %w", e.name, err)
		}
		rows = append(rows, row)
		per := func(n int) float64 { return float64(n) / row.long.Seconds() }
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%s\t%s\t\n", row.name, per(row.good), per(row.refused), per(row.expired), per(row.other),
			orNone(row.took, 50), orNone(row.took, 99))
	}
	if err := t.Flush(); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.first != nil {
			fmt.Fprintf(stdout, "%s: the first other error: %v\n", row.name, row.first)
		}
	}
	return rows, nil
}

// orNone prints a percentile in milliseconds, if there are values.
func orNone(took []time.Duration, p float64) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", milliseconds(percentile(took, p)))
}

// measureStorm makes calls on a schedule, however many of them wait.
func measureStorm(ctx context.Context, e stormEntry, warmUp, long time.Duration) (row stormRow, err error) {
	m := &stormMachine{slots: make(chan struct{}, stormWorkers), quit: make(chan struct{})}
	site, err := e.open(m)
	if err != nil {
		return stormRow{}, err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	defer close(m.quit)

	row.name = e.name
	var mu sync.Mutex // for row
	var calls sync.WaitGroup
	began := time.Now()
	for n := 0; ; n++ {
		at := time.Duration(n) * time.Second / time.Duration(stormRate)
		if at >= warmUp+long {
			break
		}
		if err = waitUntil(ctx, began.Add(at)); err != nil {
			break
		}
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, stormDeadline)
			defer cancel()
			start := time.Now()
			err := site.call(ctx, []byte{countedCall})
			took := time.Since(start)
			if at < warmUp {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			row.made++
			row.count(err, took)
		})
	}
	made := time.Since(began.Add(warmUp))
	calls.Wait()
	row.long = max(made, long)
	slices.Sort(row.took)
	row.served = m.served.Load()
	if site.limiter != nil {
		row.limited = site.limiter.Stats().RefusedCalls
	}
	return row, err
}

// count adds a call.
func (r *stormRow) count(err error, took time.Duration) {
	switch codeOf(err) {
	case 0:
		r.good++
		r.took = append(r.took, took)
	case connect.CodeResourceExhausted:
		r.refused++
	case connect.CodeDeadlineExceeded:
		r.expired++
	default:
		r.other++
		if r.first == nil {
			r.first = err
		}
	}
}

// codeOf returns the code of an error of either library, which number them alike, and zero
// for none.
func codeOf(err error) connect.Code {
	if err == nil {
		return 0
	}
	if s, ok := status.FromError(err); ok {
		return connect.Code(s.Code())
	}
	return connect.CodeOf(err)
}

// ---- servers and clients ----

// A stormMachine works on a few calls at once. It does not notice that a call has expired,
// as a handler that computes does not.
type stormMachine struct {
	slots  chan struct{}
	quit   chan struct{} // closed when no answer matters any more
	served atomic.Int64
}

func (m *stormMachine) serve() {
	select {
	case m.slots <- struct{}{}:
		time.Sleep(stormWork)
		m.served.Add(1)
		<-m.slots
	case <-m.quit:
	}
}

type stormOursServer struct {
	oursServer
	machine *stormMachine
}

func (s stormOursServer) Echo(ctx context.Context, request *connect.Request[benchv1.Payload]) (*connect.Response[benchv1.Payload], error) {
	s.machine.serve()
	return s.oursServer.Echo(ctx, request)
}

type stormGRPCGoServer struct {
	grpcGoServer
	machine *stormMachine
}

func (s stormGRPCGoServer) Echo(ctx context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	s.machine.serve()
	return s.grpcGoServer.Echo(ctx, request)
}

// stormOurs returns the open function of this library on package h2, with a limit or nil.
func stormOurs(limit overload.Option) func(*stormMachine) (*stormSite, error) {
	return func(m *stormMachine) (*stormSite, error) {
		site := new(stormSite)
		var handler http.Handler
		_, handler = benchv1connect.NewBenchServiceHandler(stormOursServer{machine: m})
		if limit != nil {
			site.limiter = overload.New(limit)
			handler = site.limiter.Handler(handler)
		}
		pair, err := newHTTPPair(new(network), overEngine, handler, 1)
		if err != nil {
			return nil, err
		}
		client := benchv1connect.NewBenchServiceClient(pair.client, pair.base, connect.WithGRPC())
		site.close = pair.Close
		site.call = func(ctx context.Context, data []byte) error {
			_, err := client.Echo(ctx, connect.NewRequest(&benchv1.Payload{Data: data}))
			return err
		}
		return site, nil
	}
}

// stormGRPCGo opens grpc-go's server and client.
func stormGRPCGo(m *stormMachine, options ...grpc.ServerOption) (*stormSite, error) {
	address, stop, err := startGRPCGo(stormGRPCGoServer{machine: m}, options...)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		stop()
		return nil, err
	}
	client := benchv1.NewBenchServiceClient(conn)
	return &stormSite{
		call: func(ctx context.Context, data []byte) error {
			_, err := client.Echo(ctx, &benchv1.Payload{Data: data})
			return err
		},
		close: func() error {
			defer stop()
			return conn.Close()
		},
	}, nil
}

// refuseBeyond returns an interceptor that lets n calls in at once and refuses others.
func refuseBeyond(n int) grpc.UnaryServerInterceptor {
	places := make(chan struct{}, n)
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			return handler(ctx, request)
		default:
			return nil, status.Errorf(codes.ResourceExhausted, "%d calls are being served", n)
		}
	}
}
