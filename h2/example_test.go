// SPDX-License-Identifier: Apache-2.0

package h2_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/seed-b7c59c10/connect/h2"
)

// A server and a client that speak HTTP/2 over cleartext with the engine on both
// sides. Everything but two lines is net/http as usual.
func Example() {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s to %s", r.Proto, r.URL.Path)
	})}
	if err := h2.ConfigureServer(server, nil); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	transport := h2.NewTransport(nil)
	client := &http.Client{Transport: transport}
	res, err := client.Post("http://"+listener.Addr().String()+"/greeting", "text/plain", strings.NewReader("hello"))
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.StatusCode, string(body))

	if err := transport.Close(); err != nil {
		log.Fatal(err)
	}
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// 200 HTTP/2.0 to /greeting
	// http: Server closed
}

// A server that accepts itself: idle connections need half the memory. It takes the
// place of the http.Server in each call of Serve, Shutdown and Close; HTTP/1.1 is served
// from the same listener.
func ExampleServer() {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	})}
	own, err := h2.NewServer(server, nil)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- own.Serve(listener) }()

	transport := h2.NewTransport(nil)
	for _, client := range []*http.Client{{Transport: transport}, http.DefaultClient} {
		res, err := client.Get("http://" + listener.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			log.Fatal(err)
		}
		_ = res.Body.Close()
		fmt.Println(string(body))
		client.CloseIdleConnections()
	}

	if err := own.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// HTTP/2.0
	// HTTP/1.1
	// http: Server closed
}
