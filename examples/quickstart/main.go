// SPDX-License-Identifier: Apache-2.0

// Quickstart shows the way from a schema to calls, with nothing installed but
// Go. Run it from the root of the repository:
//
//	go run ./examples/quickstart
//
// It compiles proto/greet/v1/greet.proto, generates the code below gen, builds
// the server and the client of this directory, starts the one and runs the
// other. It exits with 1 when a step fails or an answer is wrong. Edit the
// schema or the programs and run it again: it writes only the files that change.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	modulePath = "github.com/seed-b7c59c10/connect"
	here       = modulePath + "/examples/quickstart"

	// startTimeout bounds the time until the server prints its URL, stopTimeout
	// the time that a child process has to end after an interrupt.
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
)

func main() {
	// With SIGPIPE, a closed standard output stops the server, too, and does
	// not leave it behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	fmt.Println("all calls are ok")
}

func run(ctx context.Context) error {
	root, err := findRoot(ctx)
	if err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)

	fmt.Println("==> generating code from examples/quickstart/proto")
	protogen := executable(bin, "protogen")
	if err := step(ctx, filepath.Join(root, "internal", "protogen"), "go", "build", "-buildvcs=false", "-o", protogen, "."); err != nil {
		return err
	}
	if err := step(ctx, root, protogen,
		"-I", "examples/quickstart/proto",
		"-out", "examples/quickstart/gen",
		"-opt", "module="+here+"/gen",
		"greet/v1/greet.proto",
	); err != nil {
		return err
	}

	fmt.Println("==> building the server and the client")
	server, client := executable(bin, "server"), executable(bin, "client")
	for path, pkg := range map[string]string{server: here + "/server", client: here + "/client"} {
		if err := step(ctx, root, "go", "build", "-buildvcs=false", "-o", path, pkg); err != nil {
			return err
		}
	}

	fmt.Println("==> starting the server")
	url, stopServer, err := start(ctx, server, "-addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("==> calling it: protocol, codec, kind of call, answer")
	err = step(ctx, root, client, "-addr", url)
	fmt.Println("==> stopping the server")
	return errors.Join(err, stopServer())
}

// findRoot returns the directory of the module, if the working directory lies
// in a checkout of it.
func findRoot(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := command.Output()
	root := strings.TrimSpace(string(output))
	if err == nil {
		_, err = os.Stat(filepath.Join(root, "examples", "quickstart", "proto"))
	}
	if err != nil {
		return "", fmt.Errorf("looking for the module %s: %w; run from the root of a checkout", modulePath, err)
	}
	return root, nil
}

// step runs a program to its end and shows its output.
func step(ctx context.Context, dir, program string, args ...string) error {
	command := child(ctx, program, args...)
	command.Dir = dir
	command.Stdout = os.Stdout
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("running %s %s: %w", filepath.Base(program), strings.Join(args, " "), err)
	}
	return nil
}

// start runs the server and waits until it prints its URL. The function that
// it returns stops the server and reports how it ended; call it once.
func start(ctx context.Context, program string, args ...string) (url string, stop func() error, err error) {
	// The server outlives ctx until stop is called, for calls to end well.
	serverCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	command := child(serverCtx, program, args...)
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("starting the server: %w", err)
	}

	lines := make(chan string, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		defer close(lines)
		reader := bufio.NewReader(stdout)
		if line, err := reader.ReadString('\n'); err == nil {
			lines <- strings.TrimSpace(line)
		}
		_, _ = io.Copy(os.Stdout, reader)
	}()
	stop = func() error {
		cancel()  // interrupts the server
		<-drained // Wait closes the pipe, so read to its end first
		// A server that stops upon the interrupt ends with 0. Wait then returns
		// the context's error, which is no failure. On Windows the server is
		// killed.
		err := command.Wait()
		if err == nil || errors.Is(err, context.Canceled) || runtime.GOOS == "windows" {
			return nil
		}
		return fmt.Errorf("stopping the server: %w", err)
	}

	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case line := <-lines:
		fmt.Println(line)
		url, ok := strings.CutPrefix(line, "listening on ")
		if ok {
			return url, stop, nil
		}
		err = fmt.Errorf("starting the server: it printed %q, want \"listening on URL\"", line)
	case <-timeout.C:
		err = fmt.Errorf("starting the server: no line of output within %v", startTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return "", nil, errors.Join(err, stop())
}

// child prepares a program that is interrupted when ctx ends, and killed if
// that does not end it.
func child(ctx context.Context, program string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, program, args...)
	command.Env = append(os.Environ(), "GOWORK=off") // the checkout's own versions
	command.Cancel = func() error {
		if runtime.GOOS == "windows" { // which has no interrupt for one process
			return command.Process.Kill()
		}
		return command.Process.Signal(os.Interrupt)
	}
	command.WaitDelay = stopTimeout
	return command
}

func executable(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}
