// SPDX-License-Identifier: Apache-2.0

// The works: kinds of calls, their messages, and the check of the answers.

package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// kind is the method of the service that a work calls.
type kind int

const (
	echo     kind = iota // one message each way
	download             // one message, answered by many
	upload               // many messages, answered by one
	chat                 // one message after the other, each answered before the next
)

// A work is one kind of call with messages of one size.
type work struct {
	name  string
	title string
	kind  kind
	size  int // bytes of each message
	count int // messages in a stream
	extra extra
	note  string // what the title does not say
}

// Streams are long enough that their beginning and end weigh little.
var works = []work{
	{name: "unary-64", title: "unary, 64 B", kind: echo, size: 64, extra: plain},
	{name: "unary-4k", title: "unary, 4 KiB", kind: echo, size: 4 << 10, extra: plain},
	{name: "unary-64k", title: "unary, 64 KiB", kind: echo, size: 64 << 10, extra: plain},
	{name: "unary-1m", title: "unary, 1 MiB", kind: echo, size: 1 << 20, extra: plain},
	{name: "gzip-4k", title: "unary, 4 KiB, gzip", kind: echo, size: 4 << 10, extra: gzipped},
	{name: "server-stream", title: "server stream, 64 B", kind: download, size: 64, count: 1000, extra: plain},
	{name: "client-stream", title: "client stream, 64 B", kind: upload, size: 64, count: 1000, extra: plain},
	{name: "bidi", title: "bidi ping-pong, 64 B", kind: chat, size: 64, count: 100, extra: plain},
	{name: "chain-64", title: "unary, 64 B, with telemetry, auth and validation", kind: echo, size: 64, extra: chained, note: chainNote},
	{name: "chain-stream", title: "client stream, 64 B, with telemetry, auth and validation", kind: upload, size: 64, count: 1000, extra: chained, note: chainNote},
}

// unit is the noun of a work's figures, which are per call or per message.
func (w work) unit() string {
	if w.kind == echo {
		return "call"
	}
	return "message"
}

// payload returns the bytes of every message: a list of records, which
// compresses as well as real data.
func (w work) payload() []byte {
	var b []byte
	for i := 1; len(b) < w.size; i++ {
		b = fmt.Appendf(b, `{"id":%d,"name":"item %d","state":"ready"}`, 1000+i, i%97)
	}
	return b[:w.size]
}

// A caller makes one call after the other, counts them and records their
// latencies. It allocates nothing itself.
type caller struct {
	number    int
	contender contender
	work      work
	data      []byte
	strict    bool // compare whole answers, not only their length

	units     int64
	latencies []time.Duration // per unit, see call
	last      time.Time       // when the current unit began
	answer    func([]byte) error
}

func newCaller(number int, c contender, w work, data []byte, room int) *caller {
	who := &caller{number: number, contender: c, work: w, data: data, latencies: make([]time.Duration, 0, room)}
	who.answer = who.received
	return who
}

// reset discards the count and the latencies.
func (c *caller) reset() {
	c.units, c.latencies = 0, c.latencies[:0]
}

// call makes one call with count messages, if it is a stream. The latency of a
// unary call and of a ping-pong's round trip is its own; that of a message in a
// one-way stream is the stream's, divided by its messages.
func (c *caller) call(ctx context.Context, count int) error {
	c.last = time.Now()
	switch c.work.kind {
	case echo:
		answer, err := c.contender.echo(ctx, c.number, c.data)
		if err != nil {
			return err
		}
		c.arrived(1)
		return c.check(answer)
	case download:
		before := c.units
		if err := c.contender.download(ctx, c.number, c.data, count, c.answer); err != nil {
			return err
		}
		if got := c.units - before; got != int64(count) {
			return fmt.Errorf("wrong answer: %d messages, expected %d", got, count)
		}
		c.latencies = append(c.latencies, time.Since(c.last)/time.Duration(count))
	case upload:
		got, last, err := c.contender.upload(ctx, c.number, c.data, count)
		if err != nil {
			return err
		}
		if got != count {
			return fmt.Errorf("wrong answer: the server counted %d messages, expected %d", got, count)
		}
		c.units += int64(count)
		c.latencies = append(c.latencies, time.Since(c.last)/time.Duration(count))
		return c.check(last)
	case chat:
		before := c.units
		if err := c.contender.chat(ctx, c.number, c.data, count, c.answer); err != nil {
			return err
		}
		if got := c.units - before; got != int64(count) {
			return fmt.Errorf("wrong answer: %d messages, expected %d", got, count)
		}
	}
	return nil
}

// received takes one message of an answer with many.
func (c *caller) received(answer []byte) error {
	if c.work.kind == chat {
		c.arrived(1)
	} else {
		c.units++
	}
	return c.check(answer)
}

// arrived records the latency of a unit.
func (c *caller) arrived(units int64) {
	now := time.Now()
	c.units += units
	c.latencies = append(c.latencies, now.Sub(c.last))
	c.last = now
}

func (c *caller) check(answer []byte) error {
	if len(answer) != len(c.data) || c.strict && !bytes.Equal(answer, c.data) {
		return fmt.Errorf("wrong answer: %d bytes, expected the %d that were sent", len(answer), len(c.data))
	}
	return nil
}
