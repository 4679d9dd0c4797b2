// SPDX-License-Identifier: Apache-2.0

// Package greet is a module of Caddy with a handler of this library: the server of
// examples/deploy without a server of its own. Calls do not leave the process, so there is
// no proxy, no second connection, and the handler sees the caller's own address and
// certificate. In a Caddyfile:
//
//	localhost {
//		greet [<greeting>]
//	}
package greet

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/health"
)

func init() {
	caddy.RegisterModule(new(Handler))
	httpcaddyfile.RegisterHandlerDirective("greet", parse)
	httpcaddyfile.RegisterDirectiveOrder("greet", httpcaddyfile.Before, "respond")
}

// A Handler is http.handlers.greet. It serves greet.v1.GreetService and grpc.health.v1, and
// leaves other requests to the handlers that follow it. Caddy makes one for each place in
// each configuration, and calls ServeHTTP from many goroutines after Provision.
type Handler struct {
	// Greeting is the first word of answers, "Hello" by default.
	Greeting string `json:"greeting,omitempty"`

	mux *http.ServeMux
}

// CaddyModule returns the module's name.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.greet", New: func() caddy.Module { return new(Handler) }}
}

// Provision makes the mux of the services. When Caddy stops, or has loaded another
// configuration, it waits for the calls of the old one: the health service ends its watchers
// then, which would last for Caddy's whole grace_period otherwise, by default without end.
func (h *Handler) Provision(ctx caddy.Context) error {
	status := health.New(greetv1connect.GreetServiceName)
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	if err := events.(*caddyevents.App).On("stopping", onEvent(status.Shutdown)); err != nil {
		return err
	}
	h.mux = http.NewServeMux()
	h.mux.Handle(greetv1connect.NewGreetServiceHandler(greeter{greeting: cmp.Or(h.Greeting, "Hello")}))
	h.mux.Handle(health.NewHandler(status))
	return nil
}

// onEvent is a function as a handler of Caddy's events.
type onEvent func()

func (f onEvent) Handle(context.Context, caddy.Event) error {
	f()
	return nil
}

// ServeHTTP serves a call. Answers of procedures are complete, also those with errors, and
// so are never an error for Caddy's handle_errors.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	handler, pattern := h.mux.Handler(r)
	if pattern == "" {
		return next.ServeHTTP(w, r)
	}
	handler.ServeHTTP(w, r)
	return nil
}

// UnmarshalCaddyfile reads the directive.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		h.Greeting = d.Val()
	}
	if d.NextArg() || d.NextBlock(0) {
		return d.ArgErr()
	}
	return nil
}

func parse(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// Caddy finds these by the handler's methods.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

type greeter struct {
	greetv1connect.UnimplementedGreetServiceHandler

	greeting string
}

// Greet answers with a greeting.
func (g greeter) Greet(_ context.Context, req *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	return connect.NewResponse(g.greet(req.Msg)), nil
}

// Chat answers each name as it comes, which needs HTTP/2.
func (g greeter) Chat(_ context.Context, stream *connect.BidiStream[greetv1.GreetRequest, greetv1.GreetResponse]) error {
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(g.greet(request)); err != nil {
			return err
		}
	}
}

func (g greeter) greet(request *greetv1.GreetRequest) *greetv1.GreetResponse {
	return &greetv1.GreetResponse{Greeting: g.greeting + ", " + request.GetName() + "!"}
}
