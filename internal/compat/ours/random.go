// SPDX-License-Identifier: Apache-2.0

// This file runs random programs: calls whose client and handler take turns.

package ours

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// Stuck begins the line of a transcript whose program waited too long for something.
const Stuck = "stuck: "

// patience is how long a program waits for one operation before it gives up. No correct
// program waits for a time that matters.
const patience = 30 * time.Second

// Random makes the program of a seed, runs at most so many operations of it, and returns
// what client and handler have seen. Each operation ends before the next one begins. A
// client's operation that waits for the handler, such as a unary call, is the exception:
// those of the handler follow until it has what it waits for.
//
// Which operations are possible at a moment depends on what has happened (see call). Only
// those are drawn whose outcome does not depend on which side is faster.
func Random(seed uint64, http1 bool, most int, serve func(http.Handler) (*http.Client, string), first ...connect.Option) (t script.Transcript) {
	p := &program{
		r: rand.New(rand.NewPCG(seed, 0)), http1: http1, most: most,
		entered: make(chan *visit), served: make(chan bool, 1), quit: make(chan struct{}),
		hand: newActor(),
	}
	p.draw()
	var handlers []connect.HandlerOption
	var clients []connect.ClientOption
	for _, option := range first {
		handlers, clients = append(handlers, option), append(clients, option)
	}
	handlers = serverOptions(p.server, handlers)
	clients = clientOptions(p.config, clients)
	if p.notes {
		handlers = append(handlers, connect.WithInterceptors(noting{&p.ofHandlers}), connect.WithRequestInitializer(p.ofHandlers.initializer))
		clients = append(clients, connect.WithInterceptors(noting{&p.ofClients}), connect.WithResponseInitializer(p.ofClients.initializer))
	}
	p.serves = p.newHandler(handlers)
	httpClient, url := serve(http.HandlerFunc(p.serveHTTP))
	p.host = strings.TrimPrefix(url, "http://")
	var client connect.HTTPClient = httpClient
	if p.wrapped {
		client = otherClient{httpClient}
	}
	p.typed = connect.NewClient[Message, Message](client, url+stepProcedure, clients...)
	go p.hand.run(p.quit)
	p.run()
	return p.masked()
}

// A program is one or two calls of a client. Its goroutine decides what comes next.
type program struct {
	t     script.Transcript
	r     *rand.Rand
	http1 bool
	most  int // operations that are left

	settings
	serves http.Handler
	typed  *connect.Client[Message, Message]
	host   string

	entered     chan *visit               // the handler has been called
	served      chan bool                 // it has returned
	quit        chan struct{}             // the program is over
	arrived     atomic.Int64              // requests
	lastRequest *connect.Request[Message] // the last call's, which the next one may use, too

	ofHandlers, ofClients notes
	hand                  *actor // makes the client's operations
}

// serveHTTP serves a request and reports its end.
func (p *program) serveHTTP(w http.ResponseWriter, r *http.Request) {
	p.arrived.Add(1)
	defer func() {
		select {
		case p.served <- true:
		case <-p.quit:
		}
	}()
	if p.wrapped {
		w = otherWriter{w}
	}
	p.serves.ServeHTTP(w, r)
}

// otherClient and otherWriter are those of middleware.
type (
	otherClient struct{ client *http.Client }
	otherWriter struct{ http.ResponseWriter }
)

func (c otherClient) Do(req *http.Request) (*http.Response, error) { return c.client.Do(req) }
func (w otherWriter) Flush()                                       { w.ResponseWriter.(http.Flusher).Flush() }

// stuck is what a program panics with that has waited too long.
type stuck string

// run makes the calls.
func (p *program) run() {
	cancel := context.CancelFunc(func() {})
	defer func() {
		if reason := recover(); reason != nil {
			what, ok := reason.(stuck)
			if !ok {
				panic(reason)
			}
			p.t.Add("%s%s", Stuck, string(what))
		}
		cancel()
		p.release()
		close(p.quit)
	}()
	for i := range p.calls {
		var ctx context.Context
		ctx, cancel = context.WithCancel(p.base)
		late := p.chance(40)
		if late {
			cancel()
			ctx, cancel = context.WithDeadline(p.base, time.Now().Add(-time.Hour))
		}
		p.t.Add("call %d of %s over %s, too late %v", i, p.kind, p.protocolName(), late)
		c := &call{program: p, ctx: ctx, cancel: cancel, early: late, canceled: late}
		c.run()
		if c.early && !p.up() {
			cancel()
			return // connect-go may still make the request: see requestAfter
		}
		cancel()
	}
}

// wait waits for a value.
func wait[T any](from <-chan T, what string) T {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value := <-from:
		return value
	case <-timer.C:
		panic(stuck(what))
	}
}

// An actor makes the operations of one side, one after the other.
type actor struct {
	todo chan func(*script.Transcript)
	done chan script.Transcript
}

func newActor() *actor {
	return &actor{todo: make(chan func(*script.Transcript)), done: make(chan script.Transcript, 1)}
}

// run makes operations until the program is over.
func (a *actor) run(quit <-chan struct{}) {
	for a.next(quit) {
	}
}

// next makes one operation. It returns false if the program is over.
func (a *actor) next(quit <-chan struct{}) bool {
	select {
	case operation := <-a.todo:
		var t script.Transcript
		operation(&t)
		a.done <- t
		return true
	case <-quit:
		return false
	}
}

// begin begins an operation.
func (a *actor) begin(operation func(*script.Transcript)) { a.todo <- operation }

// do makes an operation of one side and records what it has seen.
func (p *program) do(a *actor, what string, operation func(*script.Transcript)) {
	p.t.Add("%s", what)
	a.begin(operation)
	p.record(a, wait(a.done, what))
}

// record records what one side has seen.
func (p *program) record(a *actor, t script.Transcript) {
	for _, line := range t.Lines {
		p.t.Lines = append(p.t.Lines, "  "+line)
	}
	if a == p.hand {
		p.noted(&p.ofClients)
	} else {
		p.noted(&p.ofHandlers)
	}
}

// masked returns the transcript without what differs from run to run, the libraries' texts,
// and what their gzip compressions, which differ, have made of messages and their lengths.
func (p *program) masked() (kept script.Transcript) {
	for _, line := range p.t.Lines {
		for _, name := range []string{"Grpc-Message: ", "User-Agent: "} {
			if before, value, ok := strings.Cut(line, name); ok {
				line = before + name + script.Text(value)
			}
		}
		for _, name := range []string{"Grpc-Timeout: ", "Connect-Timeout-Ms: "} {
			if before, _, ok := strings.Cut(line, name); ok && p.deadline {
				line = before + name + "…"
			}
		}
		if strings.Contains(line, "Content-Length: ") {
			continue
		}
		if before, after, ok := strings.Cut(line, "&message="); ok && strings.Contains(before, "compression=gzip") {
			_, rest, _ := strings.Cut(after, "&")
			line = before + "&message=…" + rest
		}
		kept.Add("%s", strings.ReplaceAll(line, p.host, "HOST"))
	}
	return kept
}

// chance is true once in n times.
func (p *program) chance(n int) bool { return p.r.IntN(n) == 0 }

// pick returns one of some values.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// draw draws the program's settings.
func (p *program) draw() {
	p.settings = drawSettings(p.r, p.http1)
	p.t.Add("server %+v", p.server)
	p.t.Add("client %+v", p.config)
	p.t.Add("conns %v, info %v, deadline %v, notes %v, wrapped %v", p.conns, p.info != nil, p.deadline, p.notes, p.wrapped)
}

func (p *program) protocolName() string {
	if p.config.Protocol == "" {
		return connect.ProtocolConnect
	}
	return p.config.Protocol
}

// word returns the text of a message.
func (p *program) word() string {
	switch p.r.IntN(8) {
	case 0:
		return ""
	case 1, 2:
		return strings.Repeat("large ", pick(p.r, 900, 900, 900, 12_000))
	case 3:
		return "bad word" // the codec "raw" cannot read it
	case 4:
		return "unspeakable" // the codec ProtoCodec cannot write it
	}
	return fmt.Sprintf("word %d", p.r.IntN(100))
}
