// SPDX-License-Identifier: Apache-2.0

// Bench measures the cost of a call: with this library, with others and with
// nothing but net/http or TCP, side by side in one run. Client and server run
// in this process, over loopback TCP, with the defaults of each library, except
// that only the works with gzip compress answers.
//
//	go run .                                   everything, in less than five minutes
//	go run . -work '^chain'                    calls with telemetry, auth and validation
//	go run . -contenders 'nats|connect/engine' calls over NATS, beside the same over h2c
//	go run . -memory                           what idle connections and waiting streams hold
//	go run . -slow                             balancers, with one slow backend of four
//	go run . -storm                            servers with three times the calls they can serve
//	go run . -release                          this tree against the last release
//	go run . -serve engine                     one server alone, for h2load and its like
//	go run . -for 20s -work 'unary-64' -callers 1,16 -contenders 'connect/http1'
//
// The figures are per call, or per message of a stream: process CPU time, user
// and system, client and server together; allocations and their bytes; calls of
// write; calls per second and their latency. Each is the median of
// several rounds. In each round every contender runs for a short time, in
// rotating order, and ratios are taken within rounds, so that other work of the
// machine disturbs them little.
//
// To generate the code below gen again: go run ./generate
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errNotEnded reports an answer that goes on after its last message.
var errNotEnded = errors.New("wrong answer: the stream does not end")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command is main with its surroundings as arguments.
func command(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var (
		budget     = flags.Duration("for", 4*time.Minute, "how long to measure, about")
		rounds     = flags.Int("rounds", 7, "how many `rounds` each case has, if the time suffices")
		workNames  = flags.String("work", "", "measure works that match this `regexp`")
		contenders = flags.String("contenders", "", "measure contenders that match this `regexp`, as in ours/grpc/h2c")
		withTLS    = flags.Bool("tls", false, "measure HTTP/2 over TLS, instead of everything else")
		callers    = flags.String("callers", "1,16,128", "how many callers at the same time: a `list`")
		jsonFile   = flags.String("json", "", "write all figures to this `file`")
		svgFile    = flags.String("svg", "", "draw a chart into this `file`")
		cpuProfile = flags.String("cpuprofile", "", "write a CPU profile to this `file`; select one contender to read it")
		release    = flags.Bool("release", false, "compare with the last release instead, in about a minute")
		server     = flags.String("serve", "", "serve alone instead, for a load from outside, until interrupted: engine, h2.Server, middleware, net/http or grpc-go, the `name` of a server")
		address    = flags.String("address", "127.0.0.1:9124", "where to serve, with -serve")
		watch      = flags.Bool("watch", false, "report the memory in use for each line of standard input, with -serve")
		memory     = flags.Bool("memory", false, "measure the memory of idle connections and waiting streams only")
		slow       = flags.Bool("slow", false, "compare balancers with a slow backend instead, in about half a minute")
		storm      = flags.Bool("storm", false, "compare overloaded servers instead, in about 45 seconds")
		memProfile = flags.String("memprofile", "", "write a profile of all allocations to this `file`, which disturbs the times")
	)
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // the flag set has printed the reason
	}
	if *memory {
		return compareMemory(ctx, stdout)
	}
	if *slow {
		_, err := compareSlow(ctx, stdout, time.Second, 5*time.Second)
		return err
	}
	if *storm {
		_, err := compareStorm(ctx, stdout, 2*time.Second, 5*time.Second)
		return err
	}
	if *watch {
		go reportMemory(os.Stdin, stdout)
	}
	if *server != "" {
		return serveAlone(ctx, *server, *address, stdout)
	}
	if *release {
		return compareRelease(ctx, runProgram, stdout)
	}
	s, err := newSettings(*workNames, *contenders, *callers, *withTLS, *rounds, *budget)
	if err != nil {
		return err
	}
	machine := describeMachine(time.Now())
	fmt.Fprintln(stdout, machine)
	stop, err := profile(*cpuProfile, *memProfile)
	if err != nil {
		return err
	}
	reports, err := run(ctx, s, func(c caseReport) { printCase(stdout, c) })
	err = errors.Join(err, stop())
	if err != nil {
		return err
	}
	printRatios(stdout, reports)
	if *workNames == "" && *contenders == "" && !*withTLS {
		if err := compareMemory(ctx, stdout); err != nil {
			return err
		}
	}
	if *jsonFile != "" {
		data, err := json.MarshalIndent(file{machine, reports}, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*jsonFile, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if *svgFile != "" {
		return os.WriteFile(*svgFile, drawChart(machine, reports), 0o644)
	}
	return nil
}

// newSettings reads the flags.
func newSettings(workNames, contenders, callers string, withTLS bool, rounds int, budget time.Duration) (settings, error) {
	s := settings{rounds: rounds, budget: budget}
	if rounds < 1 {
		return s, fmt.Errorf("reading -rounds: got %d, want 1 or more", rounds)
	}
	match, err := regexp.Compile(workNames)
	if err != nil {
		return s, fmt.Errorf("reading -work: %w", err)
	}
	for _, w := range works {
		if match.MatchString(w.name) {
			s.works = append(s.works, w)
		}
	}
	if match, err = regexp.Compile(contenders); err != nil {
		return s, fmt.Errorf("reading -contenders: %w", err)
	}
	for _, e := range entries {
		if match.MatchString(e.String()) && secure(e.transport) == withTLS {
			s.entries = append(s.entries, e)
		}
	}
	for part := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return s, fmt.Errorf("reading -callers: %q: want numbers from 1 on, separated by commas", callers)
		}
		s.callers = append(s.callers, n)
	}
	if len(s.works) == 0 || len(s.entries) == 0 {
		return s, errors.New("reading the command line: -work or -contenders match nothing: leave them out to see all names")
	}
	return s, nil
}
