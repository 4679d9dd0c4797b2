// SPDX-License-Identifier: Apache-2.0

// Tests of the schedule, the command line and the report.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadingSince(t *testing.T) {
	begin := time.Unix(1000, 0)
	before := reading{begin, 3 * time.Second, 100, 1000, 7}
	after := reading{begin.Add(2 * time.Second), 5 * time.Second, 300, 9000, 27}
	got := after.since(before, 10, []time.Duration{1, 2, 3, 4})
	want := measurement{CPU: 2e8, Allocs: 20, Bytes: 800, Writes: 2, Rate: 5, P50: 2, P99: 4}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMedians(t *testing.T) {
	got := medians([]measurement{
		{CPU: 1, Allocs: 20, Bytes: 3, Writes: 4, Rate: 5, P50: 6, P99: 7},
		{CPU: 3, Allocs: 10, Bytes: 5, Writes: 2, Rate: 1, P50: 8, P99: 9},
		{CPU: 2, Allocs: 30, Bytes: 4, Writes: 3, Rate: 3, P50: 7, P99: 8},
	})
	if want := (measurement{CPU: 2, Allocs: 20, Bytes: 4, Writes: 3, Rate: 3, P50: 7, P99: 8}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCompare(t *testing.T) {
	of := func(library, protocol, transport string, cpu float64) result {
		return result{Library: library, Protocol: protocol, Transport: transport, Rounds: []measurement{{CPU: cpu}}}
	}
	var got []string
	for _, v := range compare([]result{
		of(ours, overConnect, overHTTP1, 10),
		of(connectGo, overConnect, overHTTP1, 14),
		of(bareHTTP, "bytes", overHTTP1, 5),
		of(ours, overGRPC, overH2C, 20),
		of(connectGo, overGRPC, overH2C, 30),
		of(connectGo, overConnect, overH2C, 30),
		of(grpcGo, overGRPC, overH2C, 5),
		of(bareHTTP, "bytes", overH2C, 10),
		of(ours, overGRPC, overEngine, 4),
		of(ours, overGRPC, overNATS, 12),
		of(natsGo, "request", overNATS, 6),
		of(drpcGo, "drpc", overTCP, 1),
	}) {
		got = append(got, v.Over+" "+v.Under+" "+time.Duration(v.CPU.Median*1e9).String())
	}
	want := []string{
		"connect-go/connect/http1 ours/connect/http1 1.4s",
		"ours/connect/http1 net/http/bytes/http1 2s",
		"connect-go/grpc/h2c ours/grpc/h2c 1.5s",
		"grpc-go/grpc/h2c ours/grpc/h2c 250ms",
		"ours/grpc/h2c net/http/bytes/h2c 2s",
		"connect-go/grpc/h2c ours/grpc/engine 7.5s",
		"grpc-go/grpc/h2c ours/grpc/engine 1.25s",
		"ours/grpc/nats ours/grpc/engine 3s",
		"nats.go/request/nats ours/grpc/nats 500ms",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestCommand measures for a short time and reads the output.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	jsonFile, svgFile := filepath.Join(dir, "bench.json"), filepath.Join(dir, "bench.svg")
	var out bytes.Buffer
	err := command(t.Context(), []string{
		"-for", "1ms", "-rounds", "2", "-callers", "1,2", "-work", "^(unary-64|server-stream)$", "-contenders", "connect/http1|net/http",
		"-json", jsonFile, "-svg", svgFile,
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"unary, 64 B, 1 caller:", "server stream, 64 B, 2 callers:", "ours/connect/http1", "connect-go v1."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got output without %q:\n%s", want, &out)
		}
	}

	data, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var report file
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if got, want := len(report.Cases), 4; got != want {
		t.Fatalf("got %d cases, want %d", got, want)
	}
	for _, c := range report.Cases {
		if len(c.Ratios) == 0 {
			t.Errorf("%s: got no ratios", c.Work)
		}
		for _, r := range c.Results {
			m := r.Median
			writes := m.Writes > 0
			if r.Transport == inProcess {
				writes = m.Writes < 0.01 // none but those by which the runtime wakes its poller now and then
			}
			if len(r.Rounds) == 0 || m.Rate <= 0 || m.P50 <= 0 || m.P99 < m.P50 || !writes || m.CPU < 0 {
				t.Errorf("%s, %s: got %+v of %d rounds", c.Work, r, m, len(r.Rounds))
			}
			if r.Library == ours && m.Allocs < 1 {
				t.Errorf("%s, %s: got %v allocations, want some", c.Work, r, m.Allocs)
			}
		}
	}

	if data, err = os.ReadFile(svgFile); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, data)
	for _, want := range []string{"unary, 64 B", "server stream, 64 B", "this library, Connect", "net/http alone, HTTP/1.1"} {
		if !bytes.Contains(data, []byte(">"+want+"<")) {
			t.Errorf("got a chart without %q", want)
		}
	}
}

func wellFormed(t *testing.T, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("chart: %v", err)
		}
	}
}

// TestChart checks the length of the bars, and that a chart without cases is well formed.
func TestChart(t *testing.T) {
	wellFormed(t, drawChart(machine{CPU: "a < b & c"}, nil))
	report := func(callers int) caseReport {
		return caseReport{Callers: callers, work: works[0], Results: []result{
			{Library: ours, Protocol: overConnect, Transport: overHTTP1, Median: measurement{CPU: 5e3}},
			{Library: connectGo, Protocol: overConnect, Transport: overHTTP1, Median: measurement{CPU: 20e3}},
		}}
	}
	chart := drawChart(machine{}, []caseReport{report(1), report(chartCallers), report(128)})
	wellFormed(t, chart)
	for want, times := range map[string]int{
		`width="198.0" height="12"`: 1,
		`width="49.5" height="12"`:  1,
		"5.00 µs":                   1,
		"20.0 µs":                   1,
		"16 callers":                1,
	} {
		if got := bytes.Count(chart, []byte(want)); got != times {
			t.Errorf("%s: got it %d times, want %d:\n%s", want, got, times, chart)
		}
	}
}

func TestSettings(t *testing.T) {
	s, err := newSettings("^(server|client)-stream$", "^ours/.*/(http1|h2c)$", "1, 4", false, 3, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.works) != 2 || len(s.entries) != 3 || !slices.Equal(s.callers, []int{1, 4}) {
		t.Errorf("got %d works, %d entries, callers %v", len(s.works), len(s.entries), s.callers)
	}
	if got, want := s.contending(s.works[0]), 3; got != want {
		t.Errorf("got %d contending, want %d", got, want)
	}
	if s, err = newSettings("stream", "", "1", true, 3, time.Second); err != nil || len(s.entries) == 0 {
		t.Fatalf("got %d entries with TLS, error %v", len(s.entries), err)
	}
	for _, e := range s.entries {
		if !secure(e.transport) {
			t.Errorf("got %s among those with TLS", e)
		}
	}
	for _, test := range []struct {
		works, contenders, callers string
		rounds                     int
		want                       string
	}{
		{"(", "", "1", 1, "-work"},
		{"", "(", "1", 1, "-contenders"},
		{"", "", "0", 1, "-callers"},
		{"", "", "1,x", 1, "-callers"},
		{"", "", "1", 0, "-rounds"},
		{"nothing", "", "1", 1, "match nothing"},
		{"", "nobody", "1", 1, "match nothing"},
	} {
		if _, err := newSettings(test.works, test.contenders, test.callers, false, test.rounds, time.Second); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test, err)
		}
	}
}

// TestBrokenContender checks that a benchmark ends with an error if an answer is wrong.
func TestBrokenContender(t *testing.T) {
	broken := entry{library: "broken", kinds: allKinds, takes: plain, open: func(*network, work, int) (contender, error) {
		return liar{answer: []byte("no")}, nil
	}}
	_, err := run(t.Context(), settings{works: works[:1], entries: []entry{broken}, callers: []int{1}, rounds: 1}, func(caseReport) {
		t.Error("got a report, want none")
	})
	if err == nil || !strings.Contains(err.Error(), "wrong answer") {
		t.Errorf("got %v, want a wrong answer", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := command(ctx, []string{"-for", "1ms", "-rounds", "1", "-callers", "1", "-work", "unary-64", "-contenders", "^ours/connect/http1"}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v, want %v", err, context.Canceled)
	}
}
