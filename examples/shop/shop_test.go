// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
	"github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1/shopv1connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/reflection"
)

// runEnv makes this test program act as the program itself.
const runEnv = "SHOP_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// protocols are the options for each.
var protocols = map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()}}

// start runs a server in this process until the test ends.
func start(t *testing.T) (*dialer, config) {
	t.Helper()
	return startWith(t, io.Discard, time.Hour)
}

func startWith(t *testing.T, log io.Writer, tokenLife time.Duration) (*dialer, config) {
	t.Helper()
	c := config{dir: t.TempDir(), addr: "127.0.0.1:0", metrics: "127.0.0.1:0", tokenLife: tokenLife, log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel := context.WithCancel(context.Background())
	urls, ended := make(chan [2]string, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, c, func(url, metricsURL string) { urls <- [2]string{url, metricsURL} })
	}()
	select {
	case found := <-urls:
		c.addr, c.metrics = found[0], found[1]
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	d, err := dial(c.dir, c.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.transport.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("got %v from the server, want nil", err)
		}
	})
	return d, c
}

// order returns a request for an order.
func order(n int, product string, quantity int32) *shopv1.PlaceOrderRequest {
	return &shopv1.PlaceOrderRequest{RequestId: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Items: []*shopv1.Item{{ProductId: product, Quantity: quantity}}}
}

func TestDemo(t *testing.T) {
	var out, log strings.Builder
	if err := run(t.Context(), []string{"-demo"}, &out, &log); err != nil {
		t.Fatalf("got %v, want nil\n%s\n%s", err, out.String(), log.String())
	}
	for _, want := range []string{
		"golden-mop  999.00  1 in stock\n",
		"order 1 of ada: 1024.00\norder 1 of ada: 1024.00\n",
		"\nfailed_precondition: placing an order: not enough in stock; the details have what there is\n  golden-mop: 1 wanted, 0 available\n",
		"\n  string.uuid_empty\n  int32.gte_lte\n",
		"order 1: STATUS_PLACED\norder 1: STATUS_PACKED\norder 1: STATUS_DELIVERED\n",
		`rpc_server_call_duration_seconds_count{rpc_method="shop.v1.ShopService/PlaceOrder",rpc_status_code="FAILED_PRECONDITION",rpc_system_name="grpc"} 1`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in\n%s", want, out.String())
		}
	}
	// Each span of the server is linked to one of a client, whose call is in the log.
	type line struct {
		Msg, Name, Kind string
		Trace           string `json:"trace_id"`
		Caller          string `json:"caller_trace_id"`
	}
	clients, servers, logged := make(map[string]string), make(map[string]string), make(map[string]bool)
	for text := range strings.Lines(log.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Errorf("got the log's line %q: %v", text, err)
		}
		switch {
		case l.Msg == "call":
			logged[l.Trace] = true
		case l.Msg == "span" && l.Kind == "client":
			clients[l.Trace] = l.Name
		case l.Msg == "span" && l.Kind == "server":
			servers[l.Caller] = l.Name
		}
	}
	for caller, name := range servers {
		if clients[caller] != name || !logged[caller] {
			t.Errorf("got a server's span %q with the caller %q, want a client's span of that name, and a line of its call; the clients have %q", name, caller, clients)
		}
	}
	if len(servers) < 10 {
		t.Errorf("got %d spans of the server, want 10 or more", len(servers))
	}
	if strings.Contains(log.String(), "lovelace") {
		t.Error("got a password in the log")
	}
}

// TestLastOne has many customers order the one golden mop at once.
func TestLastOne(t *testing.T) {
	d, _ := start(t)
	var sold, short atomic.Int64
	var running sync.WaitGroup
	for n := range 12 {
		client := d.client("ada", "lovelace", protocols[slices.Sorted(maps.Keys(protocols))[n%3]]...)
		running.Go(func() {
			_, err := client.PlaceOrder(t.Context(), order(n, "golden-mop", 1))
			connectErr, _ := errors.AsType[*connect.Error](err)
			switch {
			case err == nil:
				sold.Add(1)
			case connect.CodeOf(err) == connect.CodeFailedPrecondition && len(connectErr.Details()) == 1:
				short.Add(1)
			default:
				t.Errorf("got %v, want an order, or failed_precondition with a detail", err)
			}
		})
	}
	running.Wait()
	if sold.Load() != 1 || short.Load() != 11 {
		t.Errorf("got %d orders and %d refusals, want 1 and 11", sold.Load(), short.Load())
	}
}

// TestAround has what is mounted beside the service.
func TestAround(t *testing.T) {
	d, _ := start(t)
	httpClient := &http.Client{Transport: d.transport}
	// The first probe of the database may still run.
	for status, err := range health.NewClient(httpClient, d.url).Watch(t.Context(), shopv1connect.ShopServiceName) {
		if err != nil {
			t.Fatal(err)
		}
		if status == health.StatusServing {
			break
		}
	}
	services, err := reflection.NewClient(httpClient, d.url).Services(t.Context())
	if err != nil || !slices.Contains(services, protoreflect.FullName(shopv1connect.ShopServiceName)) {
		t.Errorf("got the services %q and %v, want one of them %s", services, err, shopv1connect.ShopServiceName)
	}
	for path, want := range map[string]string{"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8"} {
		res, err := httpClient.Get(d.url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: got status %d and type %q, want 200 and %q", path, res.StatusCode, got, want)
		}
	}
}

// TestMigrate opens databases of other versions, and a file that is none.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	for _, test := range []struct{ before, want string }{
		{"SELECT 1", ""},
		{"SELECT 1", ""}, // again
		{"DELETE FROM products; PRAGMA user_version = 1", ""},
		{"PRAGMA user_version = 99", "its version is 99, and this program has migrations up to 2: use a newer program"},
		{"PRAGMA user_version = 0", "running migration 1: "},
	} {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(test.before); err != nil {
			t.Fatal(err)
		}
		db.Close()
		s, err := openStore(t.Context(), path)
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %v, want %q", test.before, err, test.want)
		}
		if err != nil {
			continue
		}
		products, err := s.products(t.Context())
		if len(products) != 3 || err != nil {
			t.Errorf("%s: got %v and %v, want 3 products", test.before, products, err)
		}
		s.db.Close()
	}
}
