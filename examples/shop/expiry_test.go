// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

// lines gets the lines of a log, as far as there is room.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

// TestExpiry watches an order for longer than a token is valid.
func TestExpiry(t *testing.T) {
	log := make(lines, 1000)
	d, _ := startWith(t, log, 4*time.Second) // so long no step before the watch may take
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ada := d.client("ada", "lovelace")
	placed, err := ada.PlaceOrder(ctx, order(1, "broom", 1))
	if err != nil {
		t.Fatal(err)
	}
	id, watched := placed.Id, make(chan error, 1)
	go func() { watched <- watch(ctx, ada, id, func(o *shopv1.Order) { placed = o }) }()
	for expired := false; !expired; {
		select {
		case line := <-log:
			expired = strings.Contains(line, "procedure=/shop.v1.ShopService/WatchOrder") && strings.Contains(line, "code=unauthenticated")
		case err := <-watched:
			t.Fatalf("got %v before the token has expired, want a watch that lasts", err)
		case <-ctx.Done():
			t.Fatal("got no stream that ended with its token, want one")
		}
	}
	if _, err := d.client("grace", "hopper").SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: id, Status: shopv1.Status_STATUS_DELIVERED}); err != nil {
		t.Error(err)
	}
	if err := <-watched; err != nil || placed.Status != shopv1.Status_STATUS_DELIVERED {
		t.Errorf("got %v and the last status %v, want nil and %v", err, placed.Status, shopv1.Status_STATUS_DELIVERED)
	}
}
