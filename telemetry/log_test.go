// SPDX-License-Identifier: Apache-2.0

// Lines of the access log with the span of their call.

package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/accesslog"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestLogAttrs(t *testing.T) {
	if got := telemetry.LogAttrs(t.Context()); got != nil {
		t.Errorf("got %v of a context without a span, want none", got)
	}
	r := record(t)
	var line bytes.Buffer
	log := accesslog.New(slog.New(slog.NewTextHandler(&line, nil)),
		accesslog.WithAttrs(func(ctx context.Context, _ *connect.Call) []slog.Attr { return telemetry.LogAttrs(ctx) }))
	s := serve(t, service(r.option(), connect.WithCallInterceptors(log)))
	if err := calls[pathUnary](testContext(t), s, "hello"); err != nil {
		t.Fatal(err)
	}
	span := r.ended(t, "server", 1)[0].SpanContext() // the line is written before the span ends
	if want := "trace_id=" + span.TraceID().String() + " span_id=" + span.SpanID().String(); !strings.Contains(line.String(), want) {
		t.Errorf("got line %q, want %q in it", line.String(), want)
	}
}
