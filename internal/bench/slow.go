// SPDX-License-Identifier: Apache-2.0

// Balancers with four backends, of which one is slow: how many calls each sends there,
// and how long calls take.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest" // registers least_request_experimental; round_robin is always there
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

const (
	slowBackends = 4 // the first one is slow
	slowTime     = 50 * time.Millisecond
	quickTime    = time.Millisecond
	slowCallers  = 64
	slowRate     = 1800 // calls a second of all callers together
)

// A slowEntry names a client with a balancer and opens it.
type slowEntry struct {
	name string
	open func(addresses []string) (echoCall, io.Closer, error)
}

// An echoCall makes a call of Echo. It is safe for concurrent use.
type echoCall func(ctx context.Context, data []byte) error

var slowEntries = []slowEntry{
	{"grpc-go, round_robin", balancedGRPCGo(`{"round_robin":{}}`)},
	{"grpc-go, least_request_experimental, 2", balancedGRPCGo(`{"least_request_experimental":{"choiceCount":2}}`)},
	{"ours, RoundRobin()", balancedOurs(balance.RoundRobin())},
	{"ours, LeastRequest(2)", balancedOurs(balance.LeastRequest(2))},
	{"ours, PeakEWMA(), the default", balancedOurs(balance.PeakEWMA())},
}

// A slowRow has the figures of an entry.
type slowRow struct {
	name     string
	backends []int64         // calls by backend, as the backends count them
	took     []time.Duration // of the calls, sorted
	rate     float64         // calls a second
}

// compareSlow measures each entry for a while, after a warm-up, and prints the rows.
func compareSlow(ctx context.Context, stdout io.Writer, warmUp, long time.Duration) ([]slowRow, error) {
	fmt.Fprintln(stdout, describeMachine(time.Now()))
	fmt.Fprintf(stdout, "\n%d backends, one takes %v, the others %v; %d calls/s by %d callers, %v each. All speak gRPC; the backends are grpc-go's.\n",
		slowBackends, slowTime, quickTime, slowRate, slowCallers, long)
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "client\tat the slow one\tp50 ms\tp90 ms\tp99 ms\tcalls/s\t")
	var rows []slowRow
	for _, e := range slowEntries {
		row, err := measureSlow(ctx, e, warmUp, long)
		if err != nil {
			return nil, fmt.Errorf("measuring %s: %w", e.name, err)
		}
		rows = append(rows, row)
		fmt.Fprintf(t, "%s\t%.2f %%\t%.2f\t%.2f\t%.2f\t%.0f\t\n", row.name, 100*float64(row.backends[0])/float64(max(len(row.took), 1)),
			milliseconds(percentile(row.took, 50)), milliseconds(percentile(row.took, 90)), milliseconds(percentile(row.took, 99)), row.rate)
	}
	return rows, t.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measureSlow makes calls on a schedule. A caller whose call ends late makes its next one
// at once, so the rate holds as long as the callers suffice.
func measureSlow(ctx context.Context, e slowEntry, warmUp, long time.Duration) (row slowRow, err error) {
	backends, addresses, stop, err := startBackends()
	if err != nil {
		return slowRow{}, err
	}
	defer stop()
	call, client, err := e.open(addresses)
	if err != nil {
		return slowRow{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	took := make([][]time.Duration, slowCallers)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for k := range took {
		group.Go(func() error {
			for n := k; ; n += slowCallers {
				at := time.Duration(n) * time.Second / slowRate
				if at >= warmUp+long {
					return nil
				}
				if err := waitUntil(ctx, began.Add(at)); err != nil {
					return err
				}
				data := []byte{warmCall}
				if at >= warmUp {
					data[0] = countedCall
				}
				start := time.Now()
				if err := call(ctx, data); err != nil {
					return err
				}
				if at >= warmUp {
					took[k] = append(took[k], time.Since(start))
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return slowRow{}, err
	}
	row = slowRow{name: e.name, took: slices.Sorted(slices.Values(slices.Concat(took...)))}
	row.rate = float64(len(row.took)) / time.Since(began.Add(warmUp)).Seconds()
	for _, b := range backends {
		row.backends = append(row.backends, b.counted.Load())
	}
	return row, nil
}

// waitUntil returns at a time, or earlier with an error when ctx ends.
func waitUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ---- backends ----

// The first byte of a request: whether the backend counts the call.
const (
	warmCall    = 'w'
	countedCall = 'c'
)

// A backend answers Echo after a time.
type backend struct {
	benchv1.UnimplementedBenchServiceServer
	takes   time.Duration
	counted atomic.Int64
}

func (b *backend) Echo(_ context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	if data := request.GetData(); len(data) > 0 && data[0] == countedCall {
		b.counted.Add(1)
	}
	time.Sleep(b.takes)
	return request, nil
}

func startBackends() (backends []*backend, addresses []string, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	for i := range slowBackends {
		b := &backend{takes: quickTime}
		if i == 0 {
			b.takes = slowTime
		}
		address, stopOne, err := startGRPCGo(b)
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		backends, addresses, stops = append(backends, b), append(addresses, address), append(stops, stopOne)
	}
	return backends, addresses, stop, nil
}

// startGRPCGo serves with grpc-go, until stop is called.
func startGRPCGo(service benchv1.BenchServiceServer, options ...grpc.ServerOption) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer(options...)
	benchv1.RegisterBenchServiceServer(server, service)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // calls fail if it ends early
	}()
	return l.Addr().String(), func() { server.Stop(); <-served }, nil
}

// ---- clients ----

// balancedGRPCGo returns the open function of grpc-go's client with a policy, as in a
// service config.
func balancedGRPCGo(policy string) func([]string) (echoCall, io.Closer, error) {
	return func(addresses []string) (echoCall, io.Closer, error) {
		var state resolver.State
		for _, a := range addresses {
			state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
		}
		list := manual.NewBuilderWithScheme("bench")
		list.InitialState(state)
		conn, err := grpc.NewClient("bench:///backends",
			grpc.WithResolvers(list),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		client := benchv1.NewBenchServiceClient(conn)
		return func(ctx context.Context, data []byte) error {
			_, err := client.Echo(ctx, &benchv1.Payload{Data: data})
			return err
		}, conn, nil
	}
}

// balancedOurs returns the open function of this library's client with a policy.
func balancedOurs(policy balance.Policy) func([]string) (echoCall, io.Closer, error) {
	return func(addresses []string) (echoCall, io.Closer, error) {
		lb, err := balance.New(balance.Static(addresses...), policy)
		if err != nil {
			return nil, nil, err
		}
		client := benchv1connect.NewBenchServiceClient(lb.HTTPClient(), "http://bench", connect.WithGRPC(), lb.Options())
		return func(ctx context.Context, data []byte) error {
			_, err := client.Echo(ctx, connect.NewRequest(&benchv1.Payload{Data: data}))
			return err
		}, closer(lb.Close), nil
	}
}

// A closer is a function as an io.Closer.
type closer func()

// Close calls f.
func (f closer) Close() error { f(); return nil }
