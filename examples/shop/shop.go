// SPDX-License-Identifier: Apache-2.0

// The service. Callers are authorised and requests are valid when they come here: the
// schema says what that means.

package main

import (
	"context"
	"errors"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/drain"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

// A shop implements shop.v1.ShopService.
type shop struct {
	store  *store
	tokens *issuer

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when an order changes
}

func newShop(store *store, tokens *issuer) *shop {
	return &shop{store: store, tokens: tokens, changed: make(chan struct{})}
}

func (s *shop) SignIn(_ context.Context, req *shopv1.SignInRequest) (*shopv1.SignInResponse, error) {
	token, err := s.tokens.signIn(req.User, req.Password)
	if err != nil {
		return nil, err
	}
	return &shopv1.SignInResponse{Token: token, ExpiresIn: int32(s.tokens.life.Seconds())}, nil
}

func (s *shop) ListProducts(ctx context.Context, _ *shopv1.ListProductsRequest) (*shopv1.ListProductsResponse, error) {
	products, err := s.store.products(ctx)
	if err != nil {
		return nil, err
	}
	return &shopv1.ListProductsResponse{Products: products}, nil
}

// PlaceOrder has the order on the disk before it answers.
func (s *shop) PlaceOrder(ctx context.Context, req *shopv1.PlaceOrderRequest) (*shopv1.Order, error) {
	caller, _ := auth.FromContext(ctx)
	return s.store.place(ctx, caller.Subject, req)
}

func (s *shop) SetStatus(ctx context.Context, req *shopv1.SetStatusRequest) (*shopv1.Order, error) {
	order, err := s.store.setStatus(ctx, req.OrderId, req.Status)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return order, nil
}

// WatchOrder sends statuses as they are when it looks: a client that reads slowly misses
// those in between, and never the last.
func (s *shop) WatchOrder(ctx context.Context, req *shopv1.WatchOrderRequest, stream *connect.ServerStream[shopv1.Order]) error {
	caller, _ := auth.FromContext(ctx)
	sent := shopv1.Status_STATUS_UNSPECIFIED
	for sent != shopv1.Status_STATUS_DELIVERED {
		s.mu.Lock()
		changed := s.changed // taken before the look, so that no change falls between
		s.mu.Unlock()
		order, err := s.store.order(ctx, req.OrderId)
		if err != nil {
			return err
		}
		if order.Customer != caller.Subject && !caller.HasRole("staff") {
			return errNoOrder(req.OrderId) // also that it exists is a secret
		}
		if order.Status != sent {
			if err := stream.Send(order); err != nil {
				return err
			}
			sent = order.Status
			continue
		}
		select {
		case <-changed:
		case <-drain.Signal(ctx):
			return connect.NewError(connect.CodeUnavailable, errors.New("the server ends: watch the order again"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
