// SPDX-License-Identifier: Apache-2.0

// A server on a Unix socket, until its context ends.

package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/seed-b7c59c10/connect/server"
)

func ExampleServer_Run() {
	folder, err := os.MkdirTemp("", "greet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "greet.sock")
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello!") })

	s := server.New(handler, server.Listen("unix:"+path, server.Mode(0o600)), server.OnDrain(func() { fmt.Println("draining") }))
	if err := s.Open(); err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background()) // or signal.NotifyContext
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://greet/")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	fmt.Println(string(body), err)
	stop()
	fmt.Println(<-ended)
	_, err = os.Lstat(path)
	fmt.Println("the file is gone:", os.IsNotExist(err))
	// Output:
	// Hello! <nil>
	// draining
	// <nil>
	// the file is gone: true
}
