// SPDX-License-Identifier: Apache-2.0

// The client: one call for each command, in any of the protocols.

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-b7c59c10/connect"
	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
	"github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1/houseworkv1connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// The options of a client come from the command line.
type options struct{ dir, url, person, protocol string }

// call calls f with a client and closes its connection.
func (o options) call(f func(houseworkv1connect.RobotMaidClient) error) error {
	config, err := readCerts(o.dir, o.person)
	if err != nil {
		return err
	}
	transport := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: config})
	defer transport.Close()
	settings := []connect.ClientOption{
		connect.WithDefaultTimeout(10 * time.Second),
		connect.WithInterceptors(retry.New()), // repeats List and Complete, which the schema declares safe to repeat
		connect.WithHTTPGet(),                 // for List, with Connect
	}
	switch o.protocol {
	case "connect":
	case "grpc":
		settings = append(settings, connect.WithGRPC())
	case "grpcweb":
		settings = append(settings, connect.WithGRPCWeb())
	default:
		return fmt.Errorf("choosing a protocol: got %q, want connect, grpc or grpcweb", o.protocol)
	}
	return f(houseworkv1connect.NewRobotMaidClient(&http.Client{Transport: transport}, o.url, settings...))
}

func (o options) add(ctx context.Context, out io.Writer, titles []string) error {
	return o.call(func(maid houseworkv1connect.RobotMaidClient) error {
		res, err := maid.Add(ctx, &houseworkv1.AddRequest{Titles: titles})
		show(out, res.GetChores())
		return err
	})
}

func (o options) complete(ctx context.Context, out io.Writer, numbers []string) error {
	req := &houseworkv1.CompleteRequest{}
	for _, number := range numbers {
		id, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return fmt.Errorf("reading the number of a chore: %w", err)
		}
		req.Ids = append(req.Ids, int32(id))
	}
	return o.call(func(maid houseworkv1connect.RobotMaidClient) error {
		res, err := maid.Complete(ctx, req)
		show(out, res.GetChores())
		return err
	})
}

func (o options) list(ctx context.Context, out io.Writer, open bool) error {
	return o.call(func(maid houseworkv1connect.RobotMaidClient) error {
		res, err := maid.List(ctx, &houseworkv1.ListRequest{OpenOnly: open})
		show(out, res.GetChores())
		return err
	})
}

// show prints a line for each chore. A title may have characters that a terminal would obey.
func show(out io.Writer, chores []*houseworkv1.Chore) {
	for _, c := range chores {
		state := "open"
		if c.CompletedBy != "" {
			state = "done by " + c.CompletedBy
		}
		fmt.Fprintf(out, "%d %q, added by %s, %s\n", c.Id, c.Title, c.AddedBy, state)
	}
}
