// SPDX-License-Identifier: Apache-2.0

// The contenders: libraries, protocols and transports.

package main

import (
	"context"
	"io"
	"slices"
)

// A contender is a client of bench.v1.BenchService and the server that it
// calls, over loopback TCP. Its methods may be called by all callers at the same
// time; caller is a number from 0 on, and each caller makes one call at a time.
type contender interface {
	// echo sends data and returns the answer's data, which is valid until the
	// caller's next call.
	echo(ctx context.Context, caller int, data []byte) ([]byte, error)
	// download asks for count messages of data and calls receive for each.
	download(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error
	// upload sends data count times. It returns how many messages the server
	// counted, and the last one.
	upload(ctx context.Context, caller int, data []byte, count int) (int, []byte, error)
	// chat sends data count times, each time waiting for the answer, for which it
	// calls receive.
	chat(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error

	io.Closer
}

// An entry names a contender and opens it.
type entry struct {
	library   string
	protocol  string
	transport string
	kinds     []kind
	takes     extra
	open      func(n *network, w work, callers int) (contender, error)
}

// An extra is what a work has beside its messages, or a set of those that an entry takes.
type extra uint8

const (
	plain   extra = 1 << iota // nothing
	gzipped                   // gzip in both directions
	chained                   // telemetry, authentication and validation: see chain
)

const (
	ours       = "ours"
	oursKlaus  = "ours+klauspost" // with compress/gzip in the place of the built-in one
	oursVT     = "ours+vt"        // with vtprotobuf's methods, and requests that are used again
	connectGo  = "connect-go"
	grpcGo     = "grpc-go"
	twirpGo    = "twirp"
	grpcGoOurs = "grpc-go+ours" // grpc-go's client on our server
	drpcGo     = "drpc"
	natsGo     = "nats.go"
	bareHTTP   = "net/http"
	bareTCP    = "net"
)

// HTTP/1.1 has no streams in both directions.
var (
	allKinds   = []kind{echo, download, upload, chat}
	http1Kinds = []kind{echo, download, upload}
)

var entries = []entry{
	{ours, overConnect, overHTTP1, http1Kinds, plain | gzipped, openOurs(overConnect, overHTTP1)},
	{oursKlaus, overConnect, overHTTP1, http1Kinds, gzipped, openOurs(overConnect, overHTTP1, withKlauspost)},
	{connectGo, overConnect, overHTTP1, http1Kinds, plain | gzipped, openConnectGo(overConnect, overHTTP1)},
	{twirpGo, "twirp", overHTTP1, []kind{echo}, plain, openTwirp},
	{bareHTTP, "bytes", overHTTP1, http1Kinds, plain | gzipped, openHTTP(overHTTP1)},
	{ours, overConnect, overH2C, allKinds, plain | gzipped, openOurs(overConnect, overH2C)},
	{connectGo, overConnect, overH2C, allKinds, plain | gzipped, openConnectGo(overConnect, overH2C)},
	{ours, overGRPC, overH2C, allKinds, plain | gzipped | chained, openOurs(overGRPC, overH2C)},
	{oursVT, overConnect, overH2C, allKinds, plain, openOursVT(overConnect, overH2C)},
	{oursKlaus, overGRPC, overH2C, allKinds, gzipped, openOurs(overGRPC, overH2C, withKlauspost)},
	{connectGo, overGRPC, overH2C, allKinds, plain | gzipped | chained, openConnectGo(overGRPC, overH2C)},
	{grpcGo, overGRPC, overH2C, allKinds, plain | gzipped | chained, openGRPCGo(overH2C)},
	{bareHTTP, "bytes", overH2C, allKinds, plain | gzipped | chained, openHTTP(overH2C)},
	{ours, overConnect, overEngine, allKinds, plain | gzipped, openOurs(overConnect, overEngine)},
	{ours, overGRPC, overEngine, allKinds, plain | gzipped | chained, openOurs(overGRPC, overEngine)},
	{oursVT, overGRPC, overEngine, allKinds, plain, openOursVT(overGRPC, overEngine)},
	{ours, overGRPC, overBalance, allKinds, plain, openOurs(overGRPC, overBalance)},
	{grpcGoOurs, overGRPC, overEngine, allKinds, plain, openGRPCGoOnOurs},
	{bareHTTP, "bytes", overEngine, allKinds, plain | gzipped | chained, openHTTP(overEngine)},
	{ours, overGRPC, overTLS, allKinds, plain | gzipped, openOurs(overGRPC, overTLS)},
	{connectGo, overGRPC, overTLS, allKinds, plain | gzipped, openConnectGo(overGRPC, overTLS)},
	{grpcGo, overGRPC, overTLS, allKinds, plain | gzipped, openGRPCGo(overTLS)},
	{ours, overGRPC, overEngineTLS, allKinds, plain | gzipped, openOurs(overGRPC, overEngineTLS)},
	{bareHTTP, "bytes", overTLS, allKinds, plain | gzipped, openHTTP(overTLS)},
	{bareHTTP, "bytes", overEngineTLS, allKinds, plain | gzipped, openHTTP(overEngineTLS)},
	{ours, overConnect, inProcess, allKinds, plain | gzipped, openOurs(overConnect, inProcess)},
	{ours, overGRPC, inProcess, allKinds, plain | gzipped, openOurs(overGRPC, inProcess)},
	{bareHTTP, "bytes", inProcess, allKinds, plain | gzipped, openHTTP(inProcess)},
	{ours, overConnect, overNATS, allKinds, plain, openOurs(overConnect, overNATS)},
	{natsGo, "request", overNATS, allKinds, plain, openNATSGo},
	{drpcGo, "drpc", overTCP, allKinds, plain, openDRPC},
	{bareTCP, "bytes", overTCP, allKinds, plain, openTCP},
}

// Protocols and transports.
const (
	overConnect   = "connect"
	overGRPC      = "grpc"
	overHTTP1     = "http1"
	overH2C       = "h2c"
	overTLS       = "h2"
	overEngine    = "engine"  // h2c with package h2 on both sides
	overBalance   = "balance" // overEngine, with a balancer and its one endpoint in the client
	overEngineTLS = "engine-tls"
	overTCP       = "tcp"
	overNATS      = "nats"       // a NATS server in this process, over loopback TCP
	inProcess     = "in-process" // package inprocess, without a network
)

// String returns the name by which flags select the entry.
func (e entry) String() string {
	return e.library + "/" + e.protocol + "/" + e.transport
}

// does reports whether the entry takes part in a work.
func (e entry) does(w work) bool {
	if e.library == natsGo && w.size >= natsPayload {
		return false
	}
	return e.takes&w.extra != 0 && slices.Contains(e.kinds, w.kind)
}
