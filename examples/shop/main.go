// SPDX-License-Identifier: Apache-2.0

// Shop is a small but whole service: products, orders in SQLite and their way to the
// customer, with TLS, tokens, rules in the schema, health, reflection, traces, metrics, a log,
// retries and a graceful end, and a page in the browser. Run it from its folder:
//
//	cd examples/shop && go run .          # serves, and prints what to open
//	cd examples/shop && go run . -demo    # plays a session and ends
//
// The service is in shop.go, its database in store.go, the server around it in serve.go,
// the tokens in token.go, the client in client.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(stderr)
	c := config{log: slog.New(slog.NewJSONHandler(stderr, nil))}
	flags.StringVar(&c.dir, "dir", "shop-data", "`folder` of the database and the certificate")
	flags.StringVar(&c.addr, "addr", "localhost:8443", "`address` to listen on; port 0 chooses a free one")
	flags.StringVar(&c.metrics, "metrics", "localhost:9090", "`address` of the metrics, without TLS; port 0 chooses a free one")
	flags.DurationVar(&c.tokenLife, "token-life", 15*time.Minute, "how long a token is valid")
	play := flags.Bool("demo", false, "play a session in a folder that is removed, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("reading the command line: got %q, want flags only", flags.Arg(0))
	}
	if !*play {
		return serve(ctx, c, func(url, metricsURL string) {
			fmt.Fprintf(stdout, "open %s (its certificate signs itself); metrics are at %s\n", url, metricsURL)
		})
	}
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c.dir, c.addr, c.metrics = dir, "127.0.0.1:0", "127.0.0.1:0"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	played, began := make(chan error, 1), false
	err = serve(ctx, c, func(url, metricsURL string) {
		began = true
		go func() {
			defer cancel() // ends the server
			played <- demo(ctx, stdout, c, url, metricsURL)
		}()
	})
	if began {
		err = errors.Join(err, <-played)
	}
	return err
}
