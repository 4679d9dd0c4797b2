// SPDX-License-Identifier: Apache-2.0

// Discovery: what the tools of NATS ask, and what servers answer.

package natstest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// ask asks a question, and returns the first answer.
func ask[T any](t *testing.T, nc *nats.Conn, verb micro.Verb, name, id string) (answer T) {
	t.Helper()
	subject, err := micro.ControlSubject(verb, name, id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nc.RequestWithContext(testContext(t), subject, nil)
	if err != nil {
		t.Fatalf("asking %s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		t.Fatalf("asking %s: got %q: %v", subject, m.Data, err)
	}
	return answer
}

func TestDiscovery(t *testing.T) {
	nc := dial(t, startServer(t, nil))
	s := serve(t, nc, new(service).handler(), natsrpc.Discovery("greeter", "1.2.3"), natsrpc.Queue("q"), natsrpc.Services("acme.v1.NotLinked"))
	id := ask[micro.Ping](t, nc, micro.PingVerb, "greeter", "").ID
	for _, who := range [][2]string{{"", ""}, {"greeter", ""}, {"greeter", id}} {
		ping := ask[micro.Ping](t, nc, micro.PingVerb, who[0], who[1])
		if ping.Name != "greeter" || ping.Version != "1.2.3" || ping.ID != id || ping.Type != micro.PingResponseType || ping.Metadata["prefix"] != "rpc" {
			t.Errorf("PING of %q: got %+v", who, ping)
		}
		info := ask[micro.Info](t, nc, micro.InfoVerb, who[0], who[1])
		if info.ID != id || info.Type != micro.InfoResponseType || len(info.Endpoints) != 2 {
			t.Fatalf("INFO of %q: got %+v, want two endpoints", who, info)
		}
		e := info.Endpoints[0]
		if e.Name != "conntest-v1-TestService" || e.Subject != "rpc.conntest.v1.TestService.*" || e.QueueGroup != "q" ||
			e.Metadata["service"] != conntestv1connect.TestServiceName || !strings.Contains(e.Metadata["procedures"], "Unary,") {
			t.Errorf("INFO of %q: got endpoint %+v", who, e)
		}
		if e := info.Endpoints[1]; e.Metadata["service"] != "acme.v1.NotLinked" || len(e.Metadata) != 1 {
			t.Errorf("INFO of %q: got endpoint %+v, want its name alone", who, e)
		}
		wantSchema(t, e.Metadata["schema"])
	}

	// Calls of all outcomes are counted.
	client := newClient(nc)
	ctx := testContext(t)
	for range 3 {
		if err := kinds["unary"](ctx, client); err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.Unary(ctx, connect.NewRequest(&conntestv1.Request{Failure: &conntestv1.Failure{Code: uint32(connect.CodeNotFound), Message: "no"}}))
	wantError(t, "failure", err, connect.CodeNotFound, "no")
	garbage := nats.NewMsg("rpc.conntest.v1.TestService.Unary")
	garbage.Reply, garbage.Data = nc.NewInbox(), []byte("garbage")
	if err := nc.PublishMsg(garbage); err != nil {
		t.Fatal(err)
	}
	stats := awaitCalls(ctx, t, nc, 5)
	if e := stats.Endpoints[0]; e.NumErrors != 2 || e.LastError == "" || e.ProcessingTime <= 0 || e.AverageProcessingTime != e.ProcessingTime/5 {
		t.Errorf("STATS: got %+v, want two errors of five calls", e)
	}
	if e := stats.Endpoints[1]; e.NumRequests != 0 || stats.Type != micro.StatsResponseType || stats.Started.After(time.Now()) {
		t.Errorf("STATS: got %+v and endpoint %+v, want no calls of it", stats, e)
	}

	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.RequestWithContext(ctx, "$SRV.PING.greeter", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after Shutdown: got %v, want no responders", err)
	}
}

// awaitCalls asks until the first endpoint has counted n calls: a call is counted after its
// answer was sent.
func awaitCalls(ctx context.Context, t *testing.T, nc *nats.Conn, n int) micro.Stats {
	t.Helper()
	for {
		stats := ask[micro.Stats](t, nc, micro.StatsVerb, "greeter", "")
		if stats.Endpoints[0].NumRequests >= n {
			return stats
		}
		if ctx.Err() != nil {
			t.Fatalf("got %+v, want %d calls", stats.Endpoints[0], n)
		}
	}
}

// wantSchema checks that a schema has the service, and every import.
func wantSchema(t *testing.T, encoded string) {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(data, set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.FindDescriptorByName(conntestv1connect.TestServiceName); err != nil {
		t.Error(err)
	}
}

// TestDiscoveryDenied: a user who may not answer gets an error, and nothing stays behind.
func TestDiscoveryDenied(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "quiet", Password: "p", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Deny: []string{"$SRV.>"}},
		}}}
	})
	nc := dial(t, s, nats.UserInfo("quiet", "p"))
	_, err := natsrpc.Serve(nc, http.NotFoundHandler(), natsrpc.Services("a.B"), natsrpc.Discovery("a", "1.0.0"))
	wantError(t, "discovery", err, connect.CodePermissionDenied, "$SRV.")
}

func TestDiscoveryPanics(t *testing.T) {
	for _, c := range [][2]string{{"", "1.0.0"}, {"a.b", "1.0.0"}, {"a b", "1.0.0"}, {"a", ""}, {"a", "v1"}, {"a", "1.0"}, {"a", "1.0.0-"}} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, "natsrpc: Discovery: ") {
					t.Errorf("Discovery(%q, %q): got panic %q, want one that names it", c[0], c[1], v)
				}
			}()
			natsrpc.Discovery(c[0], c[1])
		}()
	}
}
