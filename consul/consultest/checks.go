// SPDX-License-Identifier: Apache-2.0

// Health checks that the agent makes: gRPC, HTTP and TCP.

package consultest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/health"
)

// A probe returns why a check fails, or nil.
type probe func(ctx context.Context) error

// probeOf returns the probe of a check, nil for one that the program updates.
func probeOf(c *api.AgentServiceCheck) probe {
	switch {
	case c.GRPC != "":
		address, service, _ := strings.Cut(c.GRPC, "/")
		return func(ctx context.Context) error {
			t := h2.NewTransport(nil)
			defer t.Close()
			status, err := health.NewClient(&http.Client{Transport: t}, "http://"+address, connect.WithGRPC()).Check(ctx, service)
			if err == nil && status != health.StatusServing {
				err = fmt.Errorf("status %v", status)
			}
			return err
		}
	case c.HTTP != "":
		return func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
			if err != nil {
				return err
			}
			t := &http.Transport{DisableKeepAlives: true}
			res, err := t.RoundTrip(r)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if res.StatusCode/100 != 2 {
				return fmt.Errorf("status %s", res.Status)
			}
			return nil
		}
	case c.TCP != "":
		return func(ctx context.Context) error {
			nc, err := new(net.Dialer).DialContext(ctx, "tcp", c.TCP)
			if err == nil {
				_ = nc.Close()
			}
			return err
		}
	}
	return nil
}

// check repeats a check until ctx ends.
func (a *Agent) check(ctx context.Context, i *instance, c *api.AgentServiceCheck, probe probe) {
	every, err := time.ParseDuration(c.Interval)
	if err != nil || every <= 0 {
		every = 10 * time.Second
	}
	patience, err := time.ParseDuration(c.Timeout)
	if err != nil || patience <= 0 {
		patience = 10 * time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		probing, cancel := context.WithTimeout(ctx, patience)
		status := api.HealthPassing
		if probe(probing) != nil {
			status = api.HealthCritical
		}
		cancel()
		a.mu.Lock()
		if ctx.Err() == nil && i.status[c.CheckID] != status {
			i.status[c.CheckID] = status
			a.touch("health/" + target(i))
		}
		a.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
