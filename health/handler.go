// SPDX-License-Identifier: Apache-2.0

// The handler of grpc.health.v1.

package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
)

const (
	requestMax  = 64 << 10    // bytes of a request, which has one name
	lastWait    = time.Second // for which a watcher's client may take the last status
	servicesMax = 100         // of List [gRFC A90]
)

// NewHandler returns the pattern and the handler of the service, for a mux:
//
//	mux.Handle(health.NewHandler(status))
//
// Check fails with CodeNotFound for a service that the server does not have. Watch sends
// [StatusServiceUnknown] for it, and the status when the server gets it; a client that reads
// slowly gets the newest status, and not each one in between. List fails with
// CodeResourceExhausted if there are more than 100 services [gRFC A90]. Check and List
// are free of side effects by the schema's documentation, so Connect's GET works for them.
//
// Requests of more than 64 KiB are refused; options may set another limit. NewHandler panics
// if server is nil.
func NewHandler(server *Server, options ...connect.HandlerOption) (string, http.Handler) {
	must(server != nil, "NewHandler: server is nil: pass one of New")
	s := healthSchema()
	unary := connect.WithHandlerOptions(connect.WithIdempotency(connect.IdempotencyNoSideEffects), connect.WithReadMaxBytes(requestMax))
	own := connect.WithHandlerOptions(options...)
	check := connect.NewUnaryHandlerSimple(dynamic.Procedure(s.check), func(_ context.Context, request *dynamic.Message) (*dynamic.Message, error) {
		service := s.serviceOf(request)
		status := server.Status(service)
		if status == StatusServiceUnknown {
			return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("check health: the server has no service %.100q: expected the full name of one, or \"\" for the whole server", service))
		}
		return s.response(status), nil
	}, dynamic.WithMethod(s.check), unary, own)
	list := connect.NewUnaryHandlerSimple(dynamic.Procedure(s.list), func(context.Context, *dynamic.Message) (*dynamic.Message, error) {
		statuses := server.Statuses()
		if len(statuses) > servicesMax {
			return nil, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("list health: there are %d services: List is for %d at most: use Check for each service", len(statuses), servicesMax))
		}
		return s.listResponse(statuses), nil
	}, dynamic.WithMethod(s.list), unary, own)
	watch := connect.NewServerStreamHandlerSimple(dynamic.Procedure(s.watch), func(ctx context.Context, request *dynamic.Message, stream *connect.ServerStream[dynamic.Message]) error {
		return server.watch(ctx, s.serviceOf(request), func(ctx context.Context, status Status) error {
			return stream.SendContext(ctx, s.response(status))
		})
	}, dynamic.WithMethod(s.watch), connect.WithReadMaxBytes(requestMax), own)
	return "/" + ServiceName + "/", connect.NewServiceHandler([]*connect.Handler{check, list, watch}, own)
}

// errShutdown is what a watcher's client gets when the server drains. The client may watch
// again, with backoff. [health.proto, Watch]
var errShutdown = errors.New("watch health: the server shuts down")

// watch sends the status of a service, and each one after it that it sees, until ctx ends
// or the server drains.
func (s *Server) watch(ctx context.Context, service string, send func(context.Context, Status) error) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.draining, func() {
		select {
		case <-time.After(lastWait):
			cancel() // the client does not read: a Send that waits for it ends
		case <-within.Done():
		}
	})()
	sent := Status(-1)
	for {
		over := s.draining.Err() != nil // then the status is the last
		status, changed := s.look(service)
		if status != sent {
			if err := send(within, status); err != nil && !over && s.draining.Err() == nil {
				return err
			}
			sent = status
		}
		if over {
			return connect.NewError(connect.CodeUnavailable, errShutdown)
		}
		select {
		case <-changed:
		case <-s.draining.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
