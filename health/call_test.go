// SPDX-License-Identifier: Apache-2.0

// This file calls the service in all protocols, and compares bytes.

package health

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

func TestCheckAndList(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			ctx := testContext(t)
			status := New("acme.v1.Up", "acme.v1.Down")
			status.Set("acme.v1.Down", StatusNotServing)
			status.Set("acme.v1.Starting", StatusUnknown)
			s := serve(t, status, c.server)
			client := NewClient(s.Client(), s.URL+"/", c.options...)
			want := map[string]Status{"": StatusServing, "acme.v1.Up": StatusServing, "acme.v1.Down": StatusNotServing, "acme.v1.Starting": StatusUnknown}
			for service, want := range want {
				got, err := client.Check(ctx, service)
				wantStatus(t, got, err, want)
			}
			got, err := client.List(ctx)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v and %v, want %v", got, err, want)
			}
			_, err = client.Check(ctx, "acme.v1.Missing")
			wantError(t, err, connect.CodeNotFound, `no service "acme.v1.Missing"`)
			status.Set("acme.v1.Up", StatusServiceUnknown)
			_, err = client.Check(ctx, "acme.v1.Up")
			wantError(t, err, connect.CodeNotFound, "acme.v1.Up")

			status.Shutdown()
			status.Set("", StatusServing)
			for _, service := range []string{"", "acme.v1.Down", "acme.v1.Starting"} {
				got, err := client.Check(ctx, service)
				wantStatus(t, got, err, StatusNotServing)
			}
		})
	}
}

func TestListOfMany(t *testing.T) {
	status := New()
	for i := range servicesMax {
		status.Set(fmt.Sprint("acme.v1.S", i), StatusServing)
	}
	s := serve(t, status, nil)
	client := NewClient(s.Client(), s.URL)
	_, err := client.List(testContext(t))
	wantError(t, err, connect.CodeResourceExhausted, "there are 101 services")
	status.Set("acme.v1.S0", StatusServiceUnknown)
	got, err := client.List(testContext(t))
	if err != nil || len(got) != servicesMax {
		t.Errorf("got %d services and %v, want %d", len(got), err, servicesMax)
	}
}

// Bytes of health.proto, in Protobuf and JSON.
func TestBytes(t *testing.T) {
	status := New("a.S")
	status.Set("a.D", StatusNotServing)
	s := serve(t, status, []connecttest.Option{connecttest.WithHTTP1()})
	post := func(method, contentType, body string) string {
		t.Helper()
		res, err := s.Client().Post(s.URL+"/grpc.health.v1.Health/"+method, contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, " ", strings.ReplaceAll(string(got), " ", ""))
	}
	frame := func(flags byte, body string) string { return string([]byte{flags, 0, 0, 0, byte(len(body))}) + body }
	for _, c := range []struct{ method, contentType, body, want string }{
		{"Check", "application/json", `{}`, `200 {"status":"SERVING"}`},
		{"Check", "application/json", `{"service":"a.D"}`, `200 {"status":"NOT_SERVING"}`},
		{"Check", "application/proto", "\x0a\x03a.S", "200 \x08\x01"},
		{"Check", "application/proto", "\x0a\x03a.D", "200 \x08\x02"},
		{"Check", "application/proto", "\x0a\x03a.D\x7a\x01?", "200 \x08\x02"}, // an unknown field
		{"List", "application/json", `{}`, `200 {"statuses":{"":{"status":"SERVING"},"a.D":{"status":"NOT_SERVING"},"a.S":{"status":"SERVING"}}}`},
		{"Check", "application/grpc-web+proto", frame(0, ""), "200 " + frame(0, "\x08\x01") + "\x80\x00\x00\x00\x10grpc-status:0\r\n"},
	} {
		got := post(c.method, c.contentType, c.body)
		if c.contentType == "application/grpc-web+proto" {
			got, c.want = got[:11], c.want[:11] // the trailers' layout is the root package's
		}
		if got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.method, c.body, got, c.want)
		}
	}
	if got := post("Check", "application/json", `{"service":"`+strings.Repeat("x", requestMax)+`"}`); !strings.HasPrefix(got, "429 ") || !strings.Contains(got, "resource_exhausted") {
		t.Errorf("a long name: got %.200q, want resource_exhausted", got)
	}
	if got := post("Check", "application/json", `{"service":"`+strings.Repeat("x", requestMax/2)+`"}`); !strings.HasPrefix(got, "404 ") || len(got) > 1000 {
		t.Errorf("an unknown long name: got %d bytes, %.200q, want a short error", len(got), got)
	}
	if got := post("Chec", "application/json", `{}`); !strings.HasPrefix(got, "404 ") && !strings.HasPrefix(got, "501 ") {
		t.Errorf("an unknown method: got %q", got)
	}
}

// The handler has the schema for reflection and registries, and registers nothing.
func TestSchema(t *testing.T) {
	_, handler := NewHandler(New())
	var got []string
	for _, h := range connect.Procedures(handler) {
		spec := h.Spec()
		got = append(got, fmt.Sprint(spec.Procedure, " ", spec.StreamType, " ", spec.Schema != nil, " ", spec.IdempotencyLevel))
	}
	want := []string{
		"/grpc.health.v1.Health/Check unary true no_side_effects",
		"/grpc.health.v1.Health/List unary true no_side_effects",
		"/grpc.health.v1.Health/Watch server true idempotency_unknown",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := protoregistry.GlobalFiles.FindFileByPath("grpc/health/v1/health.proto"); err == nil {
		t.Error("got a registered file, want none")
	}
	if _, err := protoregistry.GlobalTypes.FindMessageByName("grpc.health.v1.HealthCheckRequest"); err == nil {
		t.Error("got a registered message, want none")
	}
}

func TestProbe(t *testing.T) {
	status := New("acme.v1.S")
	s := serve(t, status, nil)
	probe := Probe("acme.v1.S", connect.WithGRPC())
	if err := probe(testContext(t), s.Client(), s.URL); err != nil {
		t.Error(err)
	}
	status.Set("acme.v1.S", StatusNotServing)
	wantError(t, probe(testContext(t), s.Client(), s.URL), connect.CodeUnavailable, `service "acme.v1.S" is NOT_SERVING`)
	wantError(t, Probe("acme.v1.T")(testContext(t), s.Client(), s.URL), connect.CodeNotFound, "acme.v1.T")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	wantError(t, probe(ctx, s.Client(), s.URL), connect.CodeCanceled, "")
}

// A server without the service, and statuses that the schema does not have.
func TestOtherServers(t *testing.T) {
	s := connecttest.NewServer(connect.NewUnknownProcedureHandler())
	defer s.Close()
	client := NewClient(s.Client(), s.URL, connect.WithGRPC())
	_, err := client.Check(testContext(t), "")
	wantError(t, err, connect.CodeUnimplemented, "")
	_, err = client.List(testContext(t))
	wantError(t, err, connect.CodeUnimplemented, "")
	values := 0
	for _, err := range client.Watch(testContext(t), "") {
		values++
		wantError(t, err, connect.CodeUnimplemented, "")
	}
	if values != 1 {
		t.Errorf("got %d values, want one", values)
	}

	odd := connecttest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/proto")
		_, _ = w.Write([]byte("\x08\x07"))
	}), connecttest.WithHTTP1())
	defer odd.Close()
	got, err := NewClient(odd.Client(), odd.URL).Check(testContext(t), "")
	wantStatus(t, got, err, 7)
	if got.String() != "Status(7)" {
		t.Errorf("got %q, want Status(7)", got)
	}
}

func TestStatusNames(t *testing.T) {
	values := healthSchema().status.Enum().Values()
	for i := range values.Len() {
		if got, want := Status(values.Get(i).Number()).String(), string(values.Get(i).Name()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
