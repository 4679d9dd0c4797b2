// SPDX-License-Identifier: Apache-2.0

// Example: which user calls over a Unix socket.

package examples_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// UnixConnContext makes a handler know the process on the other side of a Unix socket.
func ExampleUnixConnContext() {
	const procedure = "/user.v1.UserService/WhoAmI"
	folder, err := os.MkdirTemp("", "whoami")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	socket := filepath.Join(folder, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{ConnContext: connect.UnixConnContext, Handler: connect.NewUnaryHandler(procedure,
		func(_ context.Context, request *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			caller, ok := request.Peer().Unix()
			fmt.Println("known:", ok)
			fmt.Println("this user:", caller.UID == uint32(os.Geteuid()))
			fmt.Println("this process:", caller.PID == int32(os.Getpid()))
			return connect.NewResponse(&emptypb.Empty{}), nil
		})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()

	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	client := connect.NewClient[emptypb.Empty, emptypb.Empty](&http.Client{Transport: transport}, "http://whoami"+procedure)
	if _, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{})); err != nil {
		fmt.Println(err)
	}
	// Output:
	// known: true
	// this user: true
	// this process: true
}
