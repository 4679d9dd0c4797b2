// SPDX-License-Identifier: Apache-2.0

// The chain of works with one: telemetry, authentication and validation, with each
// library's own packages or those that its users take.

package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"

	"buf.build/go/protovalidate"
	"connectrpc.com/authn"
	connectgo "connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	connectgovalidate "connectrpc.com/validate"
	grpcauth "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	grpcvalidate "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/protovalidate"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/telemetry"
	"github.com/seed-b7c59c10/connect/validate"
)

// chainNote is what the calls of a work with a chain do more than others.
const chainNote = "client and server record a span and metrics with OpenTelemetry's SDK, which drops them; the client sends a bearer token,\n" +
	"the server verifies its HMAC-SHA256 and checks the request's rule, bytes.max_len, with Protovalidate. net/http alone does nothing of this."

// A chain is what the three parts need in one contender, the same for all libraries.
type chain struct {
	spans    dropped
	tracers  *sdktrace.TracerProvider
	reader   *sdkmetric.ManualReader
	meters   *sdkmetric.MeterProvider
	token    string       // that the client sends
	verified atomic.Int64 // tokens
}

func newChain() *chain {
	c := &chain{reader: sdkmetric.NewManualReader()}
	c.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&c.spans))
	c.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	c.token = "bench." + hex.EncodeToString(mac("bench"))
	return c
}

// dropped counts the spans that have ended, and keeps none.
type dropped struct{ spans atomic.Int64 }

func (d *dropped) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (d *dropped) OnEnd(sdktrace.ReadOnlySpan)                     { d.spans.Add(1) }
func (d *dropped) Shutdown(context.Context) error                  { return nil }
func (d *dropped) ForceFlush(context.Context) error                { return nil }

// mac returns the HMAC-SHA256 of a caller's name.
func mac(subject string) []byte {
	h := hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef"))
	h.Write([]byte(subject))
	return h.Sum(nil)
}

// verify returns the name of the caller in a token: the name, a dot, and its mac in
// hexadecimal.
func (c *chain) verify(token string) (subject string, err error) {
	subject, sum, _ := strings.Cut(token, ".")
	got, err := hex.DecodeString(sum)
	if err != nil || !hmac.Equal(got, mac(subject)) {
		return "", errors.New("the token is not ours")
	}
	c.verified.Add(1)
	return subject, nil
}

// ours returns this library's options. Servers take the caller's trace over, as otelgrpc's do.
func (c *chain) ours() ([]connect.HandlerOption, []connect.ClientOption) {
	observed := connect.WithCallInterceptors(telemetry.New(telemetry.WithTracerProvider(c.tracers), telemetry.WithMeterProvider(c.meters),
		telemetry.WithPropagator(propagation.TraceContext{}), telemetry.WithTrustRemote()))
	guard := auth.Require(auth.Bearer(func(_ context.Context, token string) (auth.Identity, error) {
		subject, err := c.verify(token)
		return auth.Identity{Subject: subject}, err
	}))
	rules := connect.WithInterceptors(validate.New())
	return []connect.HandlerOption{observed, guard, rules},
		[]connect.ClientOption{observed, auth.Credentials(auth.StaticToken(c.token), auth.AllowLoopback())}
}

// caller is the key of the name in the contexts of grpc-go's handlers.
type callerKey struct{}

// grpcGo returns the options of grpc-go with otelgrpc and go-grpc-middleware, which checks
// messages on servers only.
func (c *chain) grpcGo() ([]grpc.ServerOption, []grpc.DialOption) {
	signals := []otelgrpc.Option{otelgrpc.WithTracerProvider(c.tracers), otelgrpc.WithMeterProvider(c.meters), otelgrpc.WithPropagators(propagation.TraceContext{})}
	authenticate := func(ctx context.Context) (context.Context, error) {
		token, err := grpcauth.AuthFromMD(ctx, "bearer")
		if err != nil {
			return nil, err
		}
		subject, err := c.verify(token)
		if err != nil {
			return nil, status.Error(codes.Unauthenticated, "")
		}
		return context.WithValue(ctx, callerKey{}, subject), nil
	}
	return []grpc.ServerOption{
			grpc.StatsHandler(otelgrpc.NewServerHandler(signals...)),
			grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(authenticate), grpcvalidate.UnaryServerInterceptor(protovalidate.GlobalValidator)),
			grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(authenticate), grpcvalidate.StreamServerInterceptor(protovalidate.GlobalValidator)),
		}, []grpc.DialOption{
			grpc.WithStatsHandler(otelgrpc.NewClientHandler(signals...)),
			grpc.WithPerRPCCredentials(bearer{"authorization": "Bearer " + c.token}),
		}
}

// bearer is the metadata with grpc-go's token. Those of its package oauth need TLS.
type bearer map[string]string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return b, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// connectGo returns the options of connect-go with otelconnect and validate, and the
// middleware of authn.
func (c *chain) connectGo() ([]connectgo.HandlerOption, []connectgo.ClientOption, func(http.Handler) http.Handler, error) {
	observed, err := otelconnect.NewInterceptor(otelconnect.WithTracerProvider(c.tracers), otelconnect.WithMeterProvider(c.meters),
		otelconnect.WithPropagator(propagation.TraceContext{}), otelconnect.WithTrustRemote())
	if err != nil {
		return nil, nil, nil, err
	}
	authenticate := authn.NewMiddleware(func(_ context.Context, r *http.Request) (any, error) {
		token, ok := authn.BearerToken(r)
		if !ok {
			return nil, authn.Errorf("no token")
		}
		subject, err := c.verify(token)
		if err != nil {
			return nil, authn.Errorf("wrong token")
		}
		return subject, nil
	})
	return []connectgo.HandlerOption{connectgo.WithInterceptors(observed, connectgovalidate.NewInterceptor())},
		[]connectgo.ClientOption{connectgo.WithInterceptors(observed, sendToken("Bearer "+c.token))}, authenticate.Wrap, nil
}

// sendToken is an interceptor of connect-go's clients: authn has none.
type sendToken string

func (s sendToken) WrapUnary(next connectgo.UnaryFunc) connectgo.UnaryFunc {
	return func(ctx context.Context, request connectgo.AnyRequest) (connectgo.AnyResponse, error) {
		request.Header().Set("Authorization", string(s))
		return next(ctx, request)
	}
}

func (s sendToken) WrapStreamingClient(next connectgo.StreamingClientFunc) connectgo.StreamingClientFunc {
	return func(ctx context.Context, spec connectgo.Spec) connectgo.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set("Authorization", string(s))
		return conn
	}
}

func (sendToken) WrapStreamingHandler(next connectgo.StreamingHandlerFunc) connectgo.StreamingHandlerFunc {
	return next
}
