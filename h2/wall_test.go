// SPDX-License-Identifier: Apache-2.0

//go:build walljump

// A wall clock that is set: peers that are gone are found nevertheless. internal/walljump
// runs these tests, with a package time that has JumpWall.

package h2_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestWallClockClient has a server that falls silent, and the clock set back by an hour.
func TestWallClockClient(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	transport := h2.NewTransport(&h2.TransportConfig{
		KeepAlive: time.Second, KeepAliveTimeout: time.Second, MaxAttempts: 1,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
	})
	defer transport.Close()
	go func() {
		r := bufio.NewReader(theirs)
		_, _ = io.ReadFull(r, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(theirs, r)
		_ = f.WriteSettings()
		for {
			switch frame, err := f.ReadFrame(); {
			case err != nil:
				return
			case frame.Header().Type == http2.FrameHeaders:
				time.JumpWall(-time.Hour)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://silent.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(r); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v, want the connection given up", err)
	}
}

// TestWallClockServer has a client that falls silent, and the clock set back by an hour.
func TestWallClockServer(t *testing.T) {
	server := &http.Server{Handler: http.NotFoundHandler(), HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	nc, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, http2.ClientPreface)
	f := http2.NewFramer(nc, nc)
	_ = f.WriteSettings()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	if err := nc.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Error("got the connection open after a silent minute, want it ended after two seconds")
			}
			return
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			time.JumpWall(-time.Hour)
		}
	}
}
