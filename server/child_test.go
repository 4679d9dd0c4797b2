// SPDX-License-Identifier: Apache-2.0

// Servers in processes of their own, which can be killed: the test's own program, run again.

package server_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect/server"
)

// childVariable has the address of a server in a process of its own.
const childVariable = "CONNECT_SERVER_TEST_CHILD"

// child runs a server until a signal comes.
func child() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, echo(), server.Listen(os.Getenv(childVariable)), server.Grace(time.Minute)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
