// SPDX-License-Identifier: Apache-2.0

// Panics of the program's own code in a translator.

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

// boom is an interceptor whose streams panic with the first message that comes.
type boom struct{}

func (boom) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (boom) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (boom) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, boomConn{conn})
	}
}

type boomConn struct{ connect.StreamingHandlerConn }

func (boomConn) Receive(any) error { panic("boom") }

// A panic while a message of the caller is received reaches the recovery of the handler:
// the messages of streams are forwarded by a goroutine, whose panic would end the program.
func TestTranslatePanic(t *testing.T) {
	target, backendClient := engines[1].start(t, backendHandler())
	recovered := connect.WithRecover(func(_ context.Context, _ connect.Spec, _ http.Header, value any) error {
		return connect.NewError(connect.CodeDataLoss, errors.New(fmt.Sprint("recovered from ", value)))
	})
	url, client := engines[2].start(t, proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backendClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}},
		connect.WithInterceptors(boom{}), recovered))
	for _, kind := range []string{"ServerStream", "ClientStream", "Bidi"} {
		o := call(testContext(t), conntestv1connect.NewTestServiceClient(client, url), kind, nil, &request{})
		wantError(t, o.err, connect.CodeDataLoss, "recovered from boom")
	}
}
