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
	"net/url"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestCallAllocs makes unary calls of 64 bytes with client and server on the
// engine, over a socket.
func TestCallAllocs(t *testing.T) {
	client, to := startCounted(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var buf [64]byte
		n, _ := io.ReadFull(r.Body, buf[:])
		w.Header()["Content-Type"] = typeHeader
		_, _ = w.Write(buf[:n])
	}))
	data := make([]byte, 64)
	template, err := http.NewRequest("POST", to, nil)
	if err != nil {
		t.Fatal(err)
	}
	template.Header["Content-Type"] = typeHeader
	wantAllocs(t, 20, 3800, func() io.ReadCloser {
		// What net/http and its user allocate for a request: the request itself is
		// that of the template, the reader is not counted against the engine either.
		r := *template
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), 64
		res, err := client.RoundTrip(&r)
		if err != nil {
			t.Fatal(err)
		}
		return res.Body
	})
}

// TestDirectAllocs makes the same calls on the direct path.
func TestDirectAllocs(t *testing.T) {
	client, to := startCounted(t, &directHandler{direct: func(_ string, call directCall) bool {
		var buf [64]byte
		_, _, body, _, _, _ := call.DirectRequest()
		n, _ := io.ReadFull(body, buf[:])
		call.DirectField("content-type", typeHeader[0])
		_, _ = call.Write(buf[:n])
		return true
	}})
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	target, err := client.PrepareDirect(client, u, [][2]string{{"content-type", typeHeader[0]}})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	wantAllocs(t, 7, 1300, func() io.ReadCloser {
		body, err := target.RoundTripDirect(t.Context(), nil, data)
		if err != nil || body == nil {
			t.Fatalf("got %v and error %v, want a response", body, err)
		}
		return body
	})
}

// startCounted serves a handler over a socket, and returns a client and a URL.
func startCounted(t *testing.T, handler http.Handler) (client *h2.Transport, to string) {
	server := &http.Server{Protocols: new(http.Protocols), Handler: handler}
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
	client = h2.NewTransport(nil)
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-served
	})
	return client, "http://" + listener.Addr().String() + "/acme.Service/Method"
}

// wantAllocs makes calls, whose responses have bodies of 64 bytes, and fails the test
// if one costs more than the budgets.
func wantAllocs(t *testing.T, budget, bytesBudget int64, call func() io.ReadCloser) {
	t.Helper()
	buf := make([]byte, 100)
	one := func() {
		body := call()
		n, err := io.ReadFull(body, buf[:64])
		if err == nil {
			_, err = body.Read(buf)
		}
		if err != io.EOF || n != 64 {
			t.Fatalf("got %d bytes and error %v", n, err)
		}
		_ = body.Close()
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
