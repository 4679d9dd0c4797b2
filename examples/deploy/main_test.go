// SPDX-License-Identifier: Apache-2.0

// The server with the environments of platforms.

package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestEnvironments(t *testing.T) {
	folder, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "s")
	for name, c := range map[string]struct {
		environment map[string]string
		want        []string // prefixes of the addresses; all of a machine's are [::] or 0.0.0.0
	}{
		"Cloud Run":       {map[string]string{"PORT": "0", "K_SERVICE": "greet"}, []string{""}},
		"Azure Functions": {map[string]string{"FUNCTIONS_CUSTOMHANDLER_PORT": "0", "PORT": "1"}, []string{"127.0.0.1:"}},
		"several":         {map[string]string{"GREET_LISTEN": "127.0.0.1:0, unix:" + socket, "PORT": "1"}, []string{"127.0.0.1:", socket}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newServer(func(name string) string { return c.environment[name] })
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Open(); err != nil {
				t.Fatal(err)
			}
			addrs := s.Addrs()
			if len(addrs) != len(c.want) {
				t.Fatalf("got the addresses %v, want %v", addrs, c.want)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			for i, addr := range addrs {
				if !strings.HasPrefix(addr.String(), c.want[i]) {
					t.Errorf("got the address %v, want one that begins with %s", addr, c.want[i])
				}
				call(t, addr)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	for name, environment := range map[string]map[string]string{
		"no port": {"PORT": "http://"}, "no certificate": {"GREET_LISTEN": "127.0.0.1:0", "GREET_CERT": "missing.pem", "GREET_KEY": "missing.pem"}, "no systemd": {"GREET_LISTEN": "systemd:web"},
	} {
		s, err := newServer(func(name string) string { return environment[name] })
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Errorf("%s: got nil from Run, want an error", name)
		}
	}
	for _, grace := range []string{"soon", "-1s", "8"} {
		if _, err := newServer(func(name string) string { return map[string]string{"GREET_GRACE": grace}[name] }); err == nil {
			t.Errorf("got no error for the grace %q, want one", grace)
		}
	}
}

// call makes calls in all protocols.
func call(t *testing.T, addr net.Addr) {
	t.Helper()
	transport := h2.NewTransport(&h2.TransportConfig{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	}})
	defer transport.Close()
	for protocol, options := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()}} {
		client := greetv1connect.NewGreetServiceClient(&http.Client{Transport: transport}, "http://greet", options...)
		response, err := client.Greet(t.Context(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
		if err != nil || response.Msg.GetGreeting() != "Hello, Ada!" {
			t.Errorf("%s: got %v, %v, want a greeting", protocol, response, err)
		}
	}
	if status, err := health.NewClient(&http.Client{Transport: transport}, "http://greet", connect.WithGRPC()).Check(t.Context(), greetv1connect.GreetServiceName); err != nil || status != health.StatusServing {
		t.Errorf("health: got %v, %v, want serving", status, err)
	}
}
