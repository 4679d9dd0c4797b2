// SPDX-License-Identifier: Apache-2.0

// The memory of connections that wait. The race detector needs more, so these
// tests run without it.

//go:build !race

package h2_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestListenMemory counts what idle connections hold, each after a request. An
// http.Server on the engine holds more than 20 KiB for each.
func TestListenMemory(t *testing.T) {
	const n, bound = 300, 16 << 10
	s := serveOwn(t, false, &http.Server{Handler: http.HandlerFunc(answerOK)})
	var program strings.Builder
	program.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&program, nil)
	_ = framer.WriteSettings()
	_ = framer.WriteSettingsAck()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: staticHead()})
	open := func() {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetReadDeadline(time.Now().Add(socketPatience))
		_, _ = io.WriteString(nc, program.String())
		reader := http2.NewFramer(nil, nc)
		for {
			f, err := reader.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := f.(*http2.DataFrame); ok && f.StreamEnded() {
				return
			}
		}
	}
	open()
	before := inUse()
	for range n {
		open()
	}
	each := (inUse() - before) / n
	t.Logf("%d bytes for each idle connection", each)
	wantAtMost(t, "bytes for each idle connection", each, bound)
}

// inUse returns the memory of heap and stacks after collections, which also give back
// the unused parts of stacks.
func inUse() int64 {
	var stats runtime.MemStats
	for range 5 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse + stats.StackInuse)
}
