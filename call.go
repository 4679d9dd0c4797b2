// SPDX-License-Identifier: Apache-2.0

// Call interceptors: functions around whole calls of every kind, and what they learn
// of a call.

package connect

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A CallFunc makes or serves one call, of any kind. It returns when the call has
// ended, with the call's error, nil if it has succeeded.
type CallFunc func(ctx context.Context, call *Call) error

// A CallInterceptorFunc wraps whole calls of every kind, unary ones and streams
// alike: see [WithCallInterceptors].
type CallInterceptorFunc func(next CallFunc) CallFunc

// WithCallInterceptors adds functions around each call of a handler or client, of
// all four kinds: to authorise, log, measure or limit them. The first one is
// outermost. Gates and interceptors of [WithInterceptors] run inside of all of
// them, whatever the order of the options. Each function is called once for each
// handler or client; its result must be safe for concurrent use. Nil functions are
// ignored. A function that returns nil panics at construction.
//
// An interceptor has the call's head, [Call.RequestHeader] among it, before a
// message is read, decoded or sent. It may
//   - refuse the call: it returns an error and does not call next. A handler then
//     reads no message, and a client sends nothing;
//   - pass on another context, which is derived from its own;
//   - return another error than next, or, for a stream of responses, none.
//
// It must pass on the Call that it was given, and return after next has. On the
// client's side of a unary call it may call next again, for another attempt;
// otherwise a second call of next returns an error.
//
// On the handler's side next reads the messages, runs gates, interceptors and the
// handler, and sends the responses; the end of the call is sent after the
// outermost interceptor has returned. Only a unary Connect call has its end before
// its message: once next has returned nil, an error or a trailer comes too late.
// The error of next is an [*Error] with the code that the client receives, unless
// an interceptor changes it. A request that the handler answers with an HTTP status
// because it is not a call of its procedure is not seen. A call with a head that
// the handler refuses, such as an unknown compression, is: next returns the error.
//
// On the client's side next runs interceptors and makes the call. The interceptors
// of a stream run in a goroutine of their own, until the call ends: when Receive
// returns an error, when the program closes the response (CloseResponse, Close),
// and when the context ends. A call that was closed before its end has an error
// with CodeCanceled. A program that does none of that leaves the goroutine
// waiting. The methods that end a call wait for the interceptors, and Receive
// returns their error.
func WithCallInterceptors(interceptors ...CallInterceptorFunc) Option {
	return option(func(c *config) {
		for _, i := range interceptors {
			if i != nil {
				c.calls = append(c.calls, i)
			}
		}
	})
}

// RecoverCalls returns a call interceptor that recovers from panics inside of it, on
// either side: of handlers and gates, of interceptors, initializers and codecs. It
// returns the error of handle, which gets the value of the panic. On the client's
// side of a stream the panic may be one in a method of the stream. RecoverCalls does
// not recover from a panic with [http.ErrAbortHandler]. It panics if handle is nil.
//
// [WithRecover] does the same for handlers, and needs no call interceptors.
func RecoverCalls(handle func(ctx context.Context, call *Call, value any) error) CallInterceptorFunc {
	if handle == nil {
		panic("connect: RecoverCalls needs a function")
	}
	return func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) (err error) {
			defer func() {
				if value := recover(); value != nil {
					if value == http.ErrAbortHandler {
						panic(value)
					}
					err = handle(ctx, call, value)
				}
			}()
			return next(ctx, call)
		}
	}
}

// Call is a call as its call interceptors see it: the head of the request, the head
// and the trailers of the response, and measurements. It is safe for concurrent
// use, but headers and trailers are maps: only the interceptors may use them, before
// next and after it, and functions of OnMessage. A Call is not valid after the
// outermost interceptor has returned, except for Stats.
type Call struct {
	handler CallInfo                    // of a handler's call, nil for a client's
	run     func(context.Context) error // the rest of the call, inside of all interceptors

	mu        sync.Mutex
	client    clientInfo // of a client's call
	succeeded bool       // an attempt at it
	stats     CallStats
	observers []func(CallMessage)
	unsent    bool // observers see the message of a request that is not sent yet

	shows [2]sync.Mutex // held while observers see a received message, and a sent one
}

// CallStats are the measurements of a call so far. A time is zero if it has not come
// yet.
type CallStats struct {
	// Begin is when a client began the call, and when a handler had read the
	// request's head.
	Begin time.Time
	// FirstByte is when the head of the response was written by a handler, or had
	// arrived at a client.
	FirstByte time.Time
	// End is when the innermost next returned; it stays zero if an interceptor refuses
	// the call. On the handler's side the end of the response is written after that.
	End time.Time
	// Sent and Received are the messages that this side has sent and received, in all
	// attempts at the call.
	Sent, Received MessageStats
}

// MessageStats are the messages of one direction.
type MessageStats struct {
	// Messages is their number.
	Messages int64
	// Bytes are the encoded messages, before compression and after decompression.
	Bytes int64
	// WireBytes are the messages as they are in the bodies of HTTP: compressed, with
	// their prefixes. Heads, trailers and the ends of streams are not counted, nor
	// is the framing of HTTP.
	WireBytes int64
	// First and Last are the times of the first message and of the last one.
	First, Last time.Time
}

// CallMessage is one message of a call. The sizes are 0 for a call of
// [Handler.ServeConn], whose messages need not have bytes.
type CallMessage struct {
	// Sent is true for a message that this side has sent, false for a received one.
	Sent bool
	// Number counts the messages of its direction, from 1.
	Number int64
	// Message is the value that was sent or received. The program owns it.
	Message any
	// Size is the number of bytes of the encoded message, before compression or after
	// decompression.
	Size int
	// CompressedSize is the number of bytes of the message as it was sent; Size, if it
	// was not compressed.
	CompressedSize int
	// WireSize is CompressedSize with the prefix of the message, if it has one: all
	// but those of unary Connect calls have one, of five bytes. A GET has its message
	// in the URL: the size is that before base64.
	WireSize int
	// Time is when all bytes of a received message were there, or when a message was
	// given to HTTP to be sent. It may be lost afterwards.
	Time time.Time
}

// Spec returns the description of the procedure.
func (c *Call) Spec() Spec {
	if c.handler != nil {
		return c.handler.Spec()
	}
	return c.client.Spec() // never written after the call has begun
}

// Peer returns the description of the other side.
func (c *Call) Peer() Peer {
	if c.handler != nil {
		return c.handler.Peer()
	}
	c.mu.Lock()
	peer, response := c.client.call.peer, c.client.response
	c.mu.Unlock()
	if response == nil {
		return peer
	}
	return response.Peer()
}

// HTTPMethod returns "POST", or "GET" for a unary call that is sent as HTTP GET. On
// the client's side it is "" until the request is sent.
func (c *Call) HTTPMethod() string {
	if c.handler != nil {
		return c.handler.HTTPMethod()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client.HTTPMethod()
}

// RequestHeader returns the request's headers, never nil. On the client's side an
// interceptor may change them before it calls next; they are those of the program
// then, and for streams of clients those that the context has.
func (c *Call) RequestHeader() http.Header {
	if c.handler != nil {
		return c.handler.RequestHeader()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client.RequestHeader()
}

// ResponseHeader returns the response's headers. A handler's interceptors may change
// them until the first message is sent. On the client's side it returns nil before
// the call, and waits for the headers during a stream. While functions of OnMessage
// see the request of a stream of responses, which is sent after that, it returns nil,
// and so does ResponseTrailer.
func (c *Call) ResponseHeader() http.Header {
	if c.handler != nil {
		return c.handler.ResponseHeader()
	}
	if r := c.response(); r != nil {
		return r.ResponseHeader()
	}
	return nil
}

// ResponseTrailer returns the response's trailers. A handler's interceptors may change
// them, of a unary Connect call before next. On the client's side it returns nil before the call; the trailers are
// complete after it.
func (c *Call) ResponseTrailer() http.Header {
	if c.handler != nil {
		return c.handler.ResponseTrailer()
	}
	if r := c.response(); r != nil {
		return r.ResponseTrailer()
	}
	return nil
}

// Stats returns the measurements so far.
func (c *Call) Stats() CallStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// OnMessage adds a function that is called for each message from then on, with the
// message as it is decoded, or before the program may change it again. An interceptor
// calls OnMessage before next. The functions run in the order in which they were
// added, in the goroutine that sends or receives: one for each direction at a time,
// also if attempts at a call run at once. So a function that waits holds up the other
// attempts. A message that cannot be decoded is counted, and not shown. A nil f is
// ignored.
func (c *Call) OnMessage(f func(CallMessage)) {
	if f == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observers = append(slices.Clip(c.observers), f)
}

// ---- the engine's side ----

// wrapCalls builds the function around all calls, once.
func (c *config) wrapCalls() {
	if len(c.calls) == 0 {
		return
	}
	calls := c.calls
	if r := c.recoverer; r != nil {
		calls = slices.Insert(slices.Clip(calls), 0, RecoverCalls(func(ctx context.Context, call *Call, value any) error {
			return r.handle(ctx, call.Spec(), call.RequestHeader(), value)
		}))
	}
	next := CallFunc(runCall)
	for _, i := range slices.Backward(calls) {
		if next = i(next); next == nil {
			panic("connect: a call interceptor returned no function")
		}
	}
	c.around = next
}

// runCall is the function inside of all call interceptors.
func runCall(ctx context.Context, call *Call) error {
	if call == nil || call.run == nil {
		return errorf(CodeInternal, "call interceptor passed on a Call of its own: expected the one that it was given")
	}
	return call.run(ctx)
}

// errSkipped is the error for an interceptor that returned no error without a call.
func errSkipped(s Spec) error {
	return errorf(CodeInternal, "%s: call interceptor returned no error, and there was no call: call the next function, or return an error", s.Procedure)
}

// errAgain is the error for an interceptor that called next twice.
func errAgain(s Spec) error {
	return errorf(CodeInternal, "%s: call interceptor called the next function again: only unary calls of clients can be made again", s.Procedure)
}

func (c *Call) response() responseMetadata {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsent {
		return nil // there is nothing to wait for yet
	}
	return c.client.response
}

// setResponse sets what a client's call is sent with and answered by: by the last
// attempt at it, or by the one that has succeeded.
func (c *Call) setResponse(method string, r responseMetadata, succeeded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if succeeded || !c.succeeded {
		c.client.call.method, c.client.response, c.succeeded = method, r, succeeded
	}
}

// end measures the end of the call.
func (c *Call) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.End = time.Now()
}

// headed measures the head of the response.
func (c *Call) headed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.FirstByte.IsZero() {
		c.stats.FirstByte = time.Now()
	}
}

// sent measures a message that is given to HTTP, with sizes of the encoded message
// and on the wire, prefix included.
func (c *Call) sent(msg any, size, wire, prefix int) {
	c.measure(CallMessage{Sent: true, Message: msg, Size: size, CompressedSize: wire - prefix, WireSize: wire, Time: time.Now()}, true)
}

// sentFirst is sent for the one message of a request, before the request is sent. While
// the observers of a stream see the message, its response is hidden from them: they
// would wait for a response that cannot come.
func (c *Call) sentFirst(kind StreamType, msg any, size, wire, prefix int) {
	if kind.serverStreams() {
		c.hide(true)
		defer c.hide(false)
	}
	c.sent(msg, size, wire, prefix)
}

func (c *Call) hide(unsent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent = unsent
}

// receive decodes a message that has arrived, and measures it.
func (c *Call) receive(u *unpacker, p piece, msg any, fresh bool) error {
	m := CallMessage{Message: msg, Size: len(p.data), CompressedSize: p.packed, WireSize: p.packed, Time: time.Now()}
	if u.framed {
		m.WireSize += prefixSize
	}
	err := u.unmarshal(p.data, msg, fresh)
	c.measure(m, err == nil)
	return err
}

// measure counts a message, and shows it to the observers if show is true.
func (c *Call) measure(m CallMessage, show bool) {
	s, turn := &c.stats.Received, &c.shows[0]
	if m.Sent {
		s, turn = &c.stats.Sent, &c.shows[1]
	}
	turn.Lock()
	defer turn.Unlock() // also if an observer panics
	c.mu.Lock()
	s.Messages++
	s.Bytes += int64(m.Size)
	s.WireBytes += int64(m.WireSize)
	if s.First.IsZero() {
		s.First = m.Time
	}
	s.Last = m.Time
	m.Number = s.Messages
	observers := c.observers
	c.mu.Unlock()
	if !show {
		return
	}
	for _, f := range observers {
		f(m)
	}
}
