// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
	"github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1/shopv1connect"
)

// TestRefused has calls that the server refuses, in all protocols.
func TestRefused(t *testing.T) {
	d, c := start(t)
	ctx := t.Context()
	if _, err := d.client("ada", "lovelace").PlaceOrder(ctx, order(1, "broom", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.client("grace", "hopper").PlaceOrder(ctx, order(1, "broom", 1)); err != nil {
		t.Fatal(err)
	}
	claims := func(change map[string]any) map[string]any {
		all := map[string]any{"iss": thisShop, "aud": thisShop, "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()}
		maps.Copy(all, change)
		return all
	}
	own, err := newIssuer(filepath.Join(c.dir, "token-key.pem"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newIssuer(filepath.Join(t.TempDir(), "token-key.pem"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	// with places an order with a token.
	with := func(by *issuer, change map[string]any) func(shopv1connect.ShopServiceClient) error {
		return func(client shopv1connect.ShopServiceClient) error {
			token, err := by.sign(claims(change))
			if err != nil {
				return err
			}
			ctx, call := connect.NewClientContext(ctx)
			call.RequestHeader().Set("Authorization", "Bearer "+token)
			_, err = client.PlaceOrder(ctx, order(2, "broom", 1))
			return err
		}
	}
	type client = shopv1connect.ShopServiceClient
	for _, test := range []struct {
		name, user, password string
		call                 func(client) error
		want                 string // "" for success
	}{
		{name: "a good token", call: with(own, nil)},
		{name: "an expired token", call: with(own, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), want: "unauthenticated: "},
		{name: "a token for others", call: with(own, map[string]any{"aud": "bank"}), want: "unauthenticated: "},
		{name: "a token of others", call: with(own, map[string]any{"iss": "bank"}), want: "unauthenticated: "},
		{name: "a token with another key", call: with(stranger, nil), want: "unauthenticated: "},
		{name: "no token", call: func(c client) error { _, err := c.PlaceOrder(ctx, order(3, "broom", 1)); return err }, want: "unauthenticated: "},
		{name: "a wrong password", user: "ada", password: "hopper", want: `unauthenticated: credentials: unauthenticated: signing in "ada": unauthenticated: signing in: wrong user or password`,
			call: func(c client) error { _, err := c.PlaceOrder(ctx, order(3, "broom", 1)); return err }},
		{name: "no user", want: "invalid_argument: ",
			call: func(c client) error { _, err := c.SignIn(ctx, &shopv1.SignInRequest{}); return err }},
		{name: "not of the staff", user: "ada", password: "lovelace", want: "permission_denied: ",
			call: func(c client) error {
				_, err := c.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: shopv1.Status_STATUS_PACKED})
				return err
			}},
		{name: "back", user: "grace", password: "hopper", want: "failed_precondition: moving order 1: it is STATUS_PACKED, and cannot go back to STATUS_PLACED",
			call: func(c client) error {
				if _, err := c.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: shopv1.Status_STATUS_PACKED}); err != nil {
					return err
				}
				_, err := c.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: shopv1.Status_STATUS_PLACED})
				return err
			}},
		{name: "another customer's order", user: "ada", password: "lovelace", want: "not_found: looking for an order: the caller has none with the number 2",
			call: func(c client) error { return watch(ctx, c, 2, func(*shopv1.Order) {}) }},
		{name: "no order", user: "grace", password: "hopper", want: "not_found: looking for an order: the caller has none with the number 99",
			call: func(c client) error { return watch(ctx, c, 99, func(*shopv1.Order) {}) }},
		{name: "an unknown product", user: "ada", password: "lovelace", want: `not_found: placing an order: there is no product "dust"; ListProducts has them all`,
			call: func(c client) error { _, err := c.PlaceOrder(ctx, order(3, "dust", 1)); return err }},
		{name: "nothing of a product", user: "ada", password: "lovelace", want: "invalid_argument: ",
			call: func(c client) error { _, err := c.PlaceOrder(ctx, order(3, "broom", 0)); return err }},
		{name: "a product twice", user: "ada", password: "lovelace", want: "invalid_argument: ",
			call: func(c client) error {
				req := order(3, "broom", 1)
				req.Items = append(req.Items, req.Items[0])
				_, err := c.PlaceOrder(ctx, req)
				return err
			}},
		{name: "a large request", user: "ada", password: "lovelace", want: "resource_exhausted: ",
			call: func(c client) error {
				_, err := c.PlaceOrder(ctx, order(3, strings.Repeat("broom", 64<<10), 1))
				return err
			}},
	} {
		for protocol, options := range protocols {
			t.Run(test.name+"/"+protocol, func(t *testing.T) {
				err := test.call(d.client(test.user, test.password, options...))
				if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && (test.want == "" || !strings.HasPrefix(got, test.want)) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		}
	}
}
