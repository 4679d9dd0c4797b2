// SPDX-License-Identifier: Apache-2.0

// The server: mutual TLS, health, logs, metrics and a graceful end around the service.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/accesslog"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1/houseworkv1connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/server"
)

// serve serves until ctx ends, and then lets the calls end that have begun. It calls ready
// with its URLs when clients can connect.
func serve(ctx context.Context, logger *slog.Logger, dir, addr, metricsAddr string, ready func(url, metricsURL string)) error {
	chores, err := openFile(filepath.Join(dir, "chores.json"))
	if err != nil {
		return err
	}
	meter := &meter{file: chores, counts: make(map[callKey]callCount)}
	status := health.New(houseworkv1connect.RobotMaidName)
	mux := http.NewServeMux()
	mux.Handle(houseworkv1connect.NewRobotMaidHandler(&maid{chores},
		connect.WithCallInterceptors(accesslog.New(logger), meter.intercept), auth.Require(auth.MTLS(person)),
		connect.WithReadMaxBytes(1<<20), connect.WithMaxTimeout(time.Minute)))
	mux.Handle(health.NewHandler(status))
	metricsMux := http.NewServeMux()
	metricsMux.Handle("GET /metrics", meter)

	rpc := server.New(mux, server.Logger(logger), server.OnDrain(status.Shutdown), server.Grace(10*time.Second),
		server.Listen(addr, server.TLSFiles(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"),
			server.ClientCA(filepath.Join(dir, "ca.pem")), server.TLSBase(&tls.Config{MinVersion: tls.VersionTLS13}))))
	metrics := server.New(metricsMux, server.Logger(logger), server.Listen(metricsAddr))
	if err := errors.Join(rpc.Open(), metrics.Open()); err != nil {
		return errors.Join(err, rpc.Close(), metrics.Close())
	}
	ready("https://"+rpc.Addrs()[0].String(), "http://"+metrics.Addrs()[0].String()+"/metrics")
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer cancel() // one server ends with the other
		ended <- metrics.Run(ctx)
	}()
	err = rpc.Run(ctx)
	cancel()
	return errors.Join(err, <-ended)
}

// person maps a certificate, which the TLS handshake has verified, to a person.
func person(_ context.Context, certificate connect.Identity) (auth.Identity, error) {
	if len(certificate.DNSNames) != 1 {
		return auth.Identity{}, connect.NewError(connect.CodeUnauthenticated,
			fmt.Errorf("looking for a name in the certificate: got %d DNS names, want one; the command certs makes certificates that have it", len(certificate.DNSNames)))
	}
	return auth.Identity{Subject: certificate.DNSNames[0]}, nil
}
