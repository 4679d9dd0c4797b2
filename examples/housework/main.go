// SPDX-License-Identifier: Apache-2.0

// Housework is a robot maid: a server that keeps a list of chores in a file, and its
// command-line client. Both sides show certificates (mutual TLS); the name in the client's
// is that of the person in the list and in the log. Run it from the root of the repository:
//
//	go run ./examples/housework
//
// Without arguments it plays a scene with a server and two people, and ends. README.md
// has its commands. The service is in maid.go, its file in file.go, the server in
// serve.go, the certificates in certs.go, the metrics in meter.go, the client in call.go.
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
)

const usage = `usage: housework COMMAND [flags] [arguments]

  certs NAME...      makes an authority and certificates for the server and these people
  serve              serves until it is interrupted
  add TITLE...       adds chores
  complete NUMBER... marks chores as done
  list [-open]       lists the chores, or only the open ones
  demo               plays a scene with all of these (also without a command)

housework COMMAND -h lists the flags of a command.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "housework:", err)
		os.Exit(1)
	}
}

// errUsage is returned after the usage has been printed.
var errUsage = errors.New("usage")

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "demo"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("housework "+command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "housework-data", "`folder` of the certificates and of the server's file")
	var client options
	if command == "add" || command == "complete" || command == "list" {
		flags.StringVar(&client.url, "url", "https://localhost:8443", "`URL` of the server")
		flags.StringVar(&client.person, "as", "ada", "`name` of the person who calls")
		flags.StringVar(&client.protocol, "protocol", "connect", "`protocol` to call with: connect, grpc or grpcweb")
	}
	// parse returns whether as many arguments are left as the command takes.
	parse := func(some bool) error {
		if err := flags.Parse(args); err != nil {
			return errUsage // the flag set has printed the reason
		}
		if some != (flags.NArg() > 0) {
			fmt.Fprint(stderr, usage)
			return errUsage
		}
		client.dir = *dir
		return nil
	}
	switch command {
	case "demo":
		if err := parse(false); err != nil {
			return err
		}
		return demo(ctx, stdout)
	case "certs":
		if err := parse(true); err != nil {
			return err
		}
		return writeCerts(stdout, *dir, flags.Args())
	case "serve":
		addr := flags.String("addr", "localhost:8443", "`address` to listen on; port 0 chooses a free one")
		metrics := flags.String("metrics", "localhost:9090", "`address` of the metrics, without TLS; port 0 chooses a free one")
		if err := parse(false); err != nil {
			return err
		}
		return serve(ctx, slog.New(slog.NewTextHandler(stderr, nil)), *dir, *addr, *metrics, func(url, metricsURL string) {
			fmt.Fprintf(stdout, "listening on %s, metrics on %s\n", url, metricsURL)
		})
	case "add":
		if err := parse(true); err != nil {
			return err
		}
		return client.add(ctx, stdout, flags.Args())
	case "complete":
		if err := parse(true); err != nil {
			return err
		}
		return client.complete(ctx, stdout, flags.Args())
	case "list":
		open := flags.Bool("open", false, "leave out the chores that are done")
		if err := parse(false); err != nil {
			return err
		}
		return client.list(ctx, stdout, *open)
	default:
		fmt.Fprint(stderr, usage)
		return errUsage
	}
}
