// SPDX-License-Identifier: Apache-2.0

// Example: a server whose service depends on a database, and a client that watches it.

package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/health"
)

func Example() {
	var connected atomic.Bool // to the database
	status := health.New("greet.v1.GreetService")
	status.AddCheck(health.Check{
		Name:     "database",
		Services: []string{"greet.v1.GreetService"},
		Interval: time.Millisecond, // of the example
		Probe: func(context.Context) error {
			if !connected.Load() {
				return errors.New("no connection")
			}
			return nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go status.Run(ctx)

	mux := http.NewServeMux()
	mux.Handle(health.NewHandler(status))
	server := httptest.NewServer(mux)
	defer server.Close()

	client := health.NewClient(server.Client(), server.URL)
	for status, err := range client.Watch(ctx, "greet.v1.GreetService") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(status)
		if status == health.StatusServing {
			break
		}
		connected.Store(true)
	}

	status.Shutdown() // when the server drains
	err := health.Probe("")(ctx, server.Client(), server.URL)
	fmt.Println("serving:", err == nil)
	// Output:
	// NOT_SERVING
	// SERVING
	// serving: false
}
