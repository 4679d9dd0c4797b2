// SPDX-License-Identifier: Apache-2.0

// This file lists, describes and calls services with "buf curl", which takes their schema from package reflection.

package buftest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/reflection"
	"github.com/seed-b7c59c10/connect/registry"
)

func TestBufCurl(t *testing.T) {
	status := health.New("acme.v1.Down")
	status.Set("acme.v1.Down", health.StatusNotServing)
	var procedures registry.Registry
	mux := http.NewServeMux()
	mux.Handle(procedures.Add(health.NewHandler(status)))
	reflection.New(&procedures).Mount(mux)
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	compact := strings.NewReplacer(" ", "", "\n", "") // buf indents JSON
	health := s.URL + "/grpc.health.v1.Health"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--list-services", s.URL}, "grpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\ngrpc.reflection.v1alpha.ServerReflection\n"},
		{[]string{"--list-methods", s.URL}, "grpc.health.v1.Health/Watch\n"},
		{[]string{health + "/Check"}, `{"status":"SERVING"}`},
		{[]string{"--protocol", "grpc", health + "/Check"}, `{"status":"SERVING"}`},
		{[]string{"--protocol", "grpcweb", "--data", `{"service":"acme.v1.Down"}`, health + "/Check"}, `{"status":"NOT_SERVING"}`},
		{[]string{"--reflect-protocol", "grpc-v1alpha", health + "/Check"}, `{"status":"SERVING"}`},
		{[]string{"--protocol", "grpc", "--data", `{"service":"acme.v1.Missing"}`, health + "/Check"}, `"code": "not_found"`},
		{[]string{health + "/List"}, `"statuses":{`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // the first one compiles buf
		command := exec.CommandContext(ctx, "go", append([]string{"tool", "buf", "curl", "--http2-prior-knowledge"}, c.args...)...)
		command.Env = append(os.Environ(), "GOWORK=off")
		output, _ := command.CombinedOutput() // the output decides
		cancel()
		if !strings.Contains(compact.Replace(string(output)), compact.Replace(c.want)) {
			t.Errorf("buf curl %q: got %q, want %q", c.args, output, c.want)
		}
	}
}
