// SPDX-License-Identifier: Apache-2.0

// The options of New.

package accesslog

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// An Option changes what [New] logs.
type Option func(*settings)

type settings struct {
	filter func(context.Context, *connect.Call) bool // nil for all calls
	level  func(connect.Spec, connect.Code, bool) slog.Level
	attrs  func(context.Context, *connect.Call) []slog.Attr // nil for none

	rate     float64
	slow     time.Duration
	messages int // bytes of a message, 0 for none
	noPeer   bool

	requestHeaders, responseHeaders []string // canonical
}

// WithSampling sets the part of calls that is logged, from 0 to 1, of those that succeed and
// are not slow. Calls that fail and slow calls are always logged. The default is 1.
// WithSampling panics if rate is not from 0 to 1.
func WithSampling(rate float64) Option {
	if !(rate >= 0 && rate <= 1) {
		panic(fmt.Sprintf("accesslog: WithSampling needs a rate from 0 to 1, not %v", rate))
	}
	return func(s *settings) { s.rate = rate }
}

// WithSlow sets how long a call takes that is slow: it is logged in any case, and with its
// phases. The default is one second, for unary calls: a stream may last. WithSlow panics
// if d is not more than 0.
func WithSlow(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("accesslog: WithSlow needs a duration of more than 0, not %v", d))
	}
	return func(s *settings) { s.slow = d }
}

// WithLevel sets the function that returns the level of a call's line. The code is 0 for
// success. It must be safe for concurrent use. WithLevel panics if f is nil.
func WithLevel(f func(s connect.Spec, code connect.Code, slow bool) slog.Level) Option {
	if f == nil {
		panic("accesslog: WithLevel needs a function")
	}
	return func(s *settings) { s.level = f }
}

// levelOf is the default of WithLevel.
func levelOf(_ connect.Spec, code connect.Code, slow bool) slog.Level {
	switch code {
	case connect.CodeUnknown, connect.CodeInternal, connect.CodeDataLoss:
		return slog.LevelError
	case connect.CodeDeadlineExceeded, connect.CodeUnavailable, connect.CodeResourceExhausted:
		return slog.LevelWarn
	}
	if slow {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// WithFilter sets the function that reports whether a call may be logged, such as one that
// leaves out health checks. It is called before the call, and must be safe for concurrent
// use. By default all calls are. WithFilter panics if f is nil.
func WithFilter(f func(context.Context, *connect.Call) bool) Option {
	if f == nil {
		panic("accesslog: WithFilter needs a function")
	}
	return func(s *settings) { s.filter = f }
}

// WithAttrs sets a function that returns more attributes for the line, such as the trace's
// ID, from the context of the call. It is called after the call, if the line is written,
// and must be safe for concurrent use. WithAttrs panics if f is nil.
func WithAttrs(f func(context.Context, *connect.Call) []slog.Attr) Option {
	if f == nil {
		panic("accesslog: WithAttrs needs a function")
	}
	return func(s *settings) { s.attrs = f }
}

// WithRequestHeaders logs headers of the request, of each at most 256 bytes.
func WithRequestHeaders(names ...string) Option {
	return func(s *settings) { s.requestHeaders = append(s.requestHeaders, canonical(names)...) }
}

// WithResponseHeaders logs headers of the response, of each at most 256 bytes.
func WithResponseHeaders(names ...string) Option {
	return func(s *settings) { s.responseHeaders = append(s.responseHeaders, canonical(names)...) }
}

func canonical(names []string) []string {
	made := make([]string, 0, len(names))
	for _, name := range names {
		made = append(made, http.CanonicalHeaderKey(name))
	}
	return made
}

// WithMessages logs the first message of each direction as JSON, at most size bytes of it.
// Fields with the option debug_redact are redacted, and fields that the schema does not
// know left out, as is what is inside of more than ten levels of google.protobuf.Any. Each call then copies and encodes these messages, whether or not it is
// logged; a message of more than 64 KiB is not. WithMessages panics if size is not more
// than 0.
func WithMessages(size int) Option {
	if size <= 0 {
		panic(fmt.Sprintf("accesslog: WithMessages needs a size of more than 0, not %d", size))
	}
	return func(s *settings) { s.messages = size }
}

// WithoutPeer leaves out the address of the other side and its identity.
func WithoutPeer() Option {
	return func(s *settings) { s.noPeer = true }
}
