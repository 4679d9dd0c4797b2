// SPDX-License-Identifier: Apache-2.0

// Errors of handlers, as clients get them in memory and over HTTP.

package connecttest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

func TestErrorsAsOverHTTP(t *testing.T) {
	for name, failure := range map[string]error{
		"plain":             errors.New("some reason"),
		"wrapped":           fmt.Errorf("wrapped: %w", connect.NewError(connect.CodeNotFound, errors.New("no more"))),
		"canceled":          fmt.Errorf("waiting: %w", context.Canceled),
		"deadline":          context.DeadlineExceeded,
		"deadline of files": fmt.Errorf("reading: %w", os.ErrDeadlineExceeded),
		"nil *Error":        (*connect.Error)(nil),
		"no code":           connect.NewError(0, errors.New("no code")),
		"code of its own":   connect.NewError(100, errors.New("a code of the program's own")),
		"no text":           connect.NewError(connect.CodeAborted, nil),
		"not UTF-8":         connect.NewError(connect.CodeAborted, errors.New("a\xffb")),
		"coded context":     connect.NewError(connect.CodeAborted, context.Canceled),
	} {
		server := connecttest.NewServer(connect.NewServerStreamHandler(chatProcedure, func(context.Context, *connect.Request[text], *connect.ServerStream[text]) error { return failure }))
		over, err := connect.NewClient[text, text](server.Client(), server.URL+chatProcedure).CallServerStream(t.Context(), connect.NewRequest(new(text)))
		if err != nil {
			t.Fatal(err)
		}
		over.Receive()
		want := over.Err()
		_ = over.Close()
		server.Close()

		handler, client := newConns(t)
		_ = handler.Close(failure)
		if got := client.Receive(new(text)); got == nil || got.Error() != want.Error() || connect.CodeOf(got) != connect.CodeOf(want) {
			t.Errorf("%s: got %v in memory, want %v as over HTTP", name, got, want)
		}
	}
}
