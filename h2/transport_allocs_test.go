// SPDX-License-Identifier: Apache-2.0

// Allocation budget: what one short call costs on both of its ends. Without the
// race detector, which allocates itself.

//go:build !race

package h2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestCallAllocs makes unary calls of 64 bytes with client and server on the
// engine, over a socket.
func TestCallAllocs(t *testing.T) {
	const budget, bytesBudget = 20, 3800
	server := &http.Server{
		Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var buf [64]byte
			n, _ := io.ReadFull(r.Body, buf[:])
			w.Header()["Content-Type"] = typeHeader
			_, _ = w.Write(buf[:n])
		}),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() { _ = server.Close(); <-served }()
	client := h2.NewTransport(nil)
	defer client.Close()

	data := make([]byte, 64)
	template, err := http.NewRequest("POST", "http://"+listener.Addr().String()+"/acme.Service/Method", nil)
	if err != nil {
		t.Fatal(err)
	}
	template.Header["Content-Type"] = typeHeader
	buf := make([]byte, 100)
	one := func() {
		// What net/http and its user allocate for a request: the request itself is
		// that of the template, the reader is not counted against the engine either.
		r := *template
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), 64
		res, err := client.RoundTrip(&r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(res.Body, buf[:64])
		if err == nil {
			_, err = res.Body.Read(buf)
		}
		if err != io.EOF || n != 64 {
			t.Fatalf("got %d bytes and error %v", n, err)
		}
		_ = res.Body.Close()
	}
	for range 100 {
		one()
	}
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			one()
		}
	})
	t.Logf("%d allocations and %d bytes for a call, both ends", result.AllocsPerOp(), result.AllocedBytesPerOp())
	if got := result.AllocsPerOp(); got > budget {
		t.Errorf("got %d allocations for a call, want at most %d", got, budget)
	}
	if got := result.AllocedBytesPerOp(); got > bytesBudget {
		t.Errorf("got %d bytes allocated for a call, want at most %d", got, bytesBudget)
	}
}

var typeHeader = []string{"application/proto"}
