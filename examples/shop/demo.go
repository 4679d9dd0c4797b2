// SPDX-License-Identifier: Apache-2.0

// The session of -demo: a customer and a member of the staff, in three protocols.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed-b7c59c10/connect"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
	"github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1/shopv1connect"
	"github.com/seed-b7c59c10/connect/validate"
)

// demo plays a session with the server at url. It returns an error if a call does not end as
// it should. The clients' spans are in the log, too: the server's name their traces.
func demo(ctx context.Context, out io.Writer, c config, url, metricsURL string) error {
	observer, err := newObserver(c.log)
	if err != nil {
		return err
	}
	defer func() { _ = observer.close(context.WithoutCancel(ctx)) }()
	d, err := dial(c.dir, url, observer.option)
	if err != nil {
		return err
	}
	defer d.transport.Close()
	ada := d.client("ada", "lovelace")
	grace := d.client("grace", "hopper", connect.WithGRPC())
	cleaning := &shopv1.PlaceOrderRequest{
		RequestId: "6f1ed002-ab5b-4b4c-8e0d-6c1f1f1b2c3d",
		Items:     []*shopv1.Item{{ProductId: "broom", Quantity: 2}, {ProductId: "golden-mop", Quantity: 1}},
	}
	for _, p := range []struct {
		title string
		play  func() error
	}{
		{"anyone lists the products, with HTTP GET", func() error {
			res, err := d.client("", "").ListProducts(ctx, &shopv1.ListProductsRequest{})
			for _, p := range res.GetProducts() {
				fmt.Fprintf(out, "%-10s %4d.%02d  %d in stock\n", p.Id, p.PriceCents/100, p.PriceCents%100, p.Stock)
			}
			return err
		}},
		{"ada orders, and orders again with the same request_id", func() error {
			for range 2 {
				order, err := ada.PlaceOrder(ctx, cleaning)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "order %d of %s: %d.%02d\n", order.Id, order.Customer, order.TotalCents/100, order.TotalCents%100)
			}
			return nil
		}},
		{"grace wants the golden mop, too, with gRPC", func() error {
			_, err := grace.PlaceOrder(ctx, cleaning)
			return refused(out, err, connect.CodeFailedPrecondition)
		}},
		{"an order that breaks the schema's rules, with gRPC-Web", func() error {
			_, err := d.client("ada", "lovelace", connect.WithGRPCWeb()).PlaceOrder(ctx, &shopv1.PlaceOrderRequest{Items: []*shopv1.Item{{ProductId: "broom"}}})
			return refused(out, err, connect.CodeInvalidArgument)
		}},
		{"an order without a token", func() error {
			_, err := d.client("", "").PlaceOrder(ctx, cleaning)
			return refused(out, err, connect.CodeUnauthenticated)
		}},
		{"ada is not of the staff", func() error {
			_, err := ada.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: shopv1.Status_STATUS_DELIVERED})
			return refused(out, err, connect.CodePermissionDenied)
		}},
		{"ada watches the order while grace moves it", func() error { return follow(ctx, out, ada, grace) }},
		{"metrics", func() error {
			return show(ctx, out, metricsURL)
		}},
	} {
		fmt.Fprintf(out, "\n== %s\n", p.title)
		if err := p.play(); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
	}
	return nil
}

// refused prints an error and its details. It returns an error if the code is another one.
func refused(out io.Writer, err error, want connect.Code) error {
	if err == nil || connect.CodeOf(err) != want {
		return fmt.Errorf("got %v, want the code %v", err, want)
	}
	fmt.Fprintln(out, err)
	connectErr, _ := errors.AsType[*connect.Error](err)
	for _, detail := range connectErr.Details() {
		if value, err := detail.Value(); err == nil {
			if short, ok := value.(*shopv1.OutOfStock); ok {
				fmt.Fprintf(out, "  %s: %d wanted, %d available\n", short.ProductId, short.Wanted, short.Available)
			}
		}
	}
	for _, violation := range validate.Violations(err) {
		fmt.Fprintf(out, "  %s\n", violation.GetRuleId())
	}
	return nil
}

// follow moves an order a step each time its customer has seen the last one.
func follow(ctx context.Context, out io.Writer, customer, staff shopv1connect.ShopServiceClient) error {
	var moving error
	err := watch(ctx, customer, 1, func(order *shopv1.Order) {
		fmt.Fprintf(out, "order %d: %v\n", order.Id, order.Status)
		if order.Status < shopv1.Status_STATUS_DELIVERED && moving == nil {
			_, moving = staff.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: order.Id, Status: order.Status + 1})
		}
	})
	return errors.Join(err, moving)
}

// show prints the metrics that count calls.
func show(ctx context.Context, out io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "rpc_server_call_duration_seconds_count") {
			fmt.Fprint(out, line)
		}
	}
	return err
}
