// SPDX-License-Identifier: Apache-2.0

// The call interceptor, and the line of a call.

package accesslog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// New returns a call interceptor for handlers and clients, for
// [connect.WithCallInterceptors]. Nil options are ignored. It panics if logger is nil.
func New(logger *slog.Logger, options ...Option) connect.CallInterceptorFunc {
	if logger == nil {
		panic("accesslog: New needs a logger")
	}
	s := settings{level: levelOf, rate: 1, slow: time.Second}
	for _, o := range options {
		if o != nil {
			o(&s)
		}
	}
	return func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) (err error) {
			if s.filter != nil && !s.filter(ctx, call) {
				return next(ctx, call)
			}
			e := event{settings: &s, call: call, code: panicked}
			if s.messages > 0 {
				call.OnMessage(e.show)
			}
			defer func() { e.write(ctx, logger, err) }() // also if next panics
			err = next(ctx, call)
			e.code = "ok"
			if err != nil && !connect.IsNotModifiedError(err) {
				e.code = codeOf(err).String()
			}
			return err
		}
	}
}

// codeOf returns the code of an error as callers receive it: an interceptor may return the
// error of a context, and a program may make codes that no protocol has.
func codeOf(err error) connect.Code {
	switch code := connect.CodeOf(err); {
	case code < connect.CodeCanceled || code > connect.CodeUnauthenticated:
		return connect.CodeUnknown
	case code != connect.CodeUnknown || errors.As(err, new(*connect.Error)):
		return code
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeUnknown
}

// panicked is the code of a call that panicked.
const panicked = "panic"

// event is the line of one call.
type event struct {
	*settings
	call *connect.Call
	code string

	mu    sync.Mutex
	shown [2]string // the first received message and the first sent one, as JSON
}

// show keeps the first message of a direction.
func (e *event) show(m connect.CallMessage) {
	if m.Number != 1 {
		return
	}
	text := render(m, e.messages)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shown[direction(m.Sent)] = text
}

func direction(sent bool) int {
	if sent {
		return 1
	}
	return 0
}

// write writes the line, if the call is one of those that are logged.
func (e *event) write(ctx context.Context, logger *slog.Logger, err error) {
	took, spec := time.Since(e.call.Stats().Begin), e.call.Spec()
	slow := took >= e.slow && spec.StreamType == connect.StreamTypeUnary
	if e.code == "ok" && !slow && e.rate < 1 && rand.Float64() >= e.rate {
		return
	}
	var code connect.Code
	switch e.code {
	case "ok":
	case panicked:
		code = connect.CodeInternal
	default:
		code = codeOf(err)
	}
	level := e.level(spec, code, slow)
	if !logger.Enabled(ctx, level) {
		return
	}
	logger.LogAttrs(ctx, level, "call", e.attributes(ctx, spec, err, took, slow)...)
}

// maxError is how much of an error's text the line has.
const maxError = 1 << 10

// attributes returns what the line has.
func (e *event) attributes(ctx context.Context, spec connect.Spec, err error, took time.Duration, slow bool) []slog.Attr {
	stats, peer := e.call.Stats(), e.call.Peer()
	side, requests, responses := "server", stats.Received, stats.Sent
	if spec.IsClient {
		side, requests, responses = "client", stats.Sent, stats.Received
	}
	a := make([]slog.Attr, 0, 20)
	a = append(a, slog.String("side", side), slog.String("procedure", spec.Procedure),
		slog.String("kind", spec.StreamType.String()), slog.String("protocol", peer.Protocol))
	if !spec.IsClient {
		if codec := codecOf(e.call.RequestHeader().Get("Content-Type")); codec != "" {
			a = append(a, slog.String("codec", codec))
		}
	}
	if e.call.HTTPMethod() == http.MethodGet {
		a = append(a, slog.String("method", http.MethodGet))
	}
	if !e.noPeer {
		a = append(a, peerAttrs(peer)...)
	}
	a = append(a, slog.String("code", e.code))
	if err != nil && e.code != "ok" {
		a = append(a, slog.String("error", cut(err.Error(), maxError)))
	}
	a = append(a, slog.Duration("duration", took), messages("requests", requests), messages("responses", responses))
	if slow {
		a = append(a, phases(stats, requests, responses))
	}
	if len(e.requestHeaders) > 0 {
		a = append(a, headers("request_header", e.requestHeaders, e.call.RequestHeader())...)
	}
	if len(e.responseHeaders) > 0 && !stats.FirstByte.IsZero() { // a client would wait for them otherwise
		a = append(a, headers("response_header", e.responseHeaders, e.call.ResponseHeader())...)
	}
	a = append(a, e.bodies(spec.IsClient)...)
	if e.attrs != nil {
		a = append(a, e.attrs(ctx, e.call)...)
	}
	return a
}

// bodies returns the messages that were shown.
func (e *event) bodies(isClient bool) []slog.Attr {
	e.mu.Lock()
	defer e.mu.Unlock()
	var a []slog.Attr
	if text := e.shown[direction(isClient)]; text != "" {
		a = append(a, slog.String("request", text))
	}
	if text := e.shown[direction(!isClient)]; text != "" {
		a = append(a, slog.String("response", text))
	}
	return a
}

func messages(name string, s connect.MessageStats) slog.Attr {
	return slog.Group(name, slog.Int64("messages", s.Messages), slog.Int64("size", s.Bytes), slog.Int64("wire_size", s.WireBytes))
}

// phases returns when the parts of a slow call came, as times since its begin.
func phases(stats connect.CallStats, requests, responses connect.MessageStats) slog.Attr {
	var a []any
	for _, p := range []struct {
		name string
		at   time.Time
	}{
		{"first_request", requests.First}, {"last_request", requests.Last}, {"first_byte", stats.FirstByte},
		{"first_response", responses.First}, {"last_response", responses.Last}, {"end", stats.End},
	} {
		if !p.at.IsZero() {
			a = append(a, slog.Duration(p.name, p.at.Sub(stats.Begin)))
		}
	}
	return slog.Group("phases", a...)
}

// codecOf returns the codec in a content type: "json" of application/json and of
// application/grpc-web+json, and "proto" of application/grpc, whose default it is.
func codecOf(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	_, sub, _ := strings.Cut(media, "/")
	if base, codec, found := strings.Cut(sub, "+"); found {
		return codec
	} else if base == "grpc" || base == "grpc-web" {
		return "proto"
	}
	return sub
}

func peerAttrs(peer connect.Peer) []slog.Attr {
	var a []slog.Attr
	host, _, err := net.SplitHostPort(peer.Addr)
	if err != nil {
		host = peer.Addr
	}
	if host != "" {
		a = append(a, slog.String("peer", host))
	}
	if who, ok := peer.Identity(); ok {
		name := who.SPIFFEID
		switch {
		case name != "":
		case len(who.DNSNames) > 0:
			name = who.DNSNames[0]
		default:
			name = who.Certificate.Subject.CommonName
		}
		a = append(a, slog.String("identity", name))
	}
	return a
}

// cut returns at most size bytes of a text.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "") + "…"
}
