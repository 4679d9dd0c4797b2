// SPDX-License-Identifier: Apache-2.0

// Conformance runs the suite of connectrpc.com/conformance against the client
// and the server in this module. From this directory:
//
//	go run . -mode both                # everything
//	go run . -mode server -run 'PATTERN' -trace
//	go run . -engine                   # the cases of HTTP/2, on package h2
//	go run . -nats                     # the cases of config-nats.yaml, over NATS: see package bus
//	go run . -generate                 # the code in conformancev1, from the suite's schemas
//	go test -v .                       # everything, with a floor for the number of cases
//
// A pattern is a case's name, in which * stands for one element between slashes
// and ** for any number of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var arguments []string
	mode := flag.String("mode", "both", "what to test: `server`, client or both")
	engine := flag.Bool("engine", false, "run the program under test on package h2: only the cases of HTTP/2")
	nats := flag.Bool("nats", false, "run the program under test over NATS, behind a gateway: only the cases of config-nats.yaml")
	race := flag.Bool("race", false, "build the program under test with the race detector")
	pass := func(name string) func(string) error {
		return func(value string) error {
			arguments = append(arguments, name, value)
			return nil
		}
	}
	flag.Func("run", "run only cases that match the `pattern` (repeatable)", pass("--run"))
	flag.Func("skip", "leave out cases that match the `pattern` (repeatable)", pass("--skip"))
	flag.Func("max-servers", "`number` of servers at a time (default 4)", pass("--max-servers"))
	flag.BoolFunc("trace", "print the HTTP traffic of cases that fail", func(string) error {
		arguments = append(arguments, "--trace")
		return nil
	})
	flag.BoolFunc("vv", "print every case", func(string) error {
		arguments = append(arguments, "--vv")
		return nil
	})
	code := flag.Bool("generate", false, "generate the code in conformancev1 and run nothing")
	flag.Parse()
	if *engine && *nats {
		fmt.Fprintln(os.Stderr, "-engine and -nats: expected one of them")
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *code {
		if err := generate(ctx, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	modes := []string{*mode}
	if *mode == "both" {
		modes = []string{"server", "client"}
	}
	failed := false
	for _, mode := range modes {
		totals, err := runSuite(ctx, suite{mode: mode, engine: *engine, nats: *nats, race: *race, arguments: arguments, out: os.Stdout})
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", mode, err)
			failed = true
			continue
		}
		fmt.Printf("%s: %v\n", mode, totals)
	}
	if failed {
		os.Exit(1)
	}
}
