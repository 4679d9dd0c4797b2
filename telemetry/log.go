// SPDX-License-Identifier: Apache-2.0

// The span's identifiers for log lines.

package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// LogAttrs returns the attributes trace_id and span_id of the span in the context, nil if
// it has none: for a line of a log, such as those of package accesslog.
func LogAttrs(ctx context.Context) []slog.Attr {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return nil
	}
	return []slog.Attr{slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String())}
}
