// SPDX-License-Identifier: Apache-2.0

// This file runs the calls step by step with each library, over HTTP/2.

package compat

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/ours"
	"github.com/seed-b7c59c10/connect/internal/compat/theirs"
)

func TestSteps(t *testing.T) {
	wanted := theirs.Steps()
	for i, step := range ours.Steps() {
		t.Run(step.Name, func(t *testing.T) {
			serve := serving(t)
			want := wanted[i].Run(serve).Lines
			judge(t, want, step.Run(serve).Lines)
			judgeBy(t, listedOfDropIn, want, step.Run(serve, connect.WithConnectGoBehavior()).Lines)
		})
	}
}

// serving returns a function that starts a server, and returns a client and its URL.
func serving(t *testing.T) func(http.Handler) (*http.Client, string) {
	return func(handler http.Handler) (*http.Client, string) {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // some handlers panic
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		t.Cleanup(server.Close)
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}, server.URL
	}
}
