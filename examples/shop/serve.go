// SPDX-License-Identifier: Apache-2.0

// The server: everything around the service, each part a line or two.

package main

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
	"github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1/shopv1connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/reflection"
	"github.com/seed-b7c59c10/connect/registry"
	"github.com/seed-b7c59c10/connect/server"
	"github.com/seed-b7c59c10/connect/validate"
)

//go:embed page
var page embed.FS

// A config is what a server needs to begin.
type config struct {
	dir       string // of the database, the keys and the certificate
	addr      string // of the shop, with TLS
	metrics   string // of the metrics, without TLS
	tokenLife time.Duration
	log       *slog.Logger
}

// serve serves until ctx ends, and then lets calls end. It calls ready with its addresses
// when clients can connect.
func serve(ctx context.Context, c config, ready func(url, metricsURL string)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	store, err := openStore(ctx, filepath.Join(c.dir, "shop.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.db.Close()) }()
	if err := makeCertificate(c.dir); err != nil {
		return err
	}
	tokens, err := newIssuer(filepath.Join(c.dir, "token-key.pem"), c.tokenLife)
	if err != nil {
		return err
	}
	observer, err := newObserver(c.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, observer.close(context.WithoutCancel(ctx))) }()
	rules := validate.New(validate.WithLogger(c.log))
	if err := rules.Compile(shopv1.File_shop_v1_shop_proto.Services().ByName("ShopService")); err != nil {
		return err
	}
	guard := auth.Require(auth.Bearer(tokens.Verify), auth.MethodOption(), auth.EndStreamsAtExpiry())

	mux := http.NewServeMux()
	var procedures registry.Registry
	mux.Handle(procedures.Add(shopv1connect.NewShopServiceHandler(newShop(store, tokens),
		observer.option, guard, connect.WithInterceptors(rules), connect.WithSafeErrors(),
		connect.WithReadMaxBytes(64<<10), connect.WithStreamMessageTimeout(time.Minute))))
	status := health.New(shopv1connect.ShopServiceName)
	status.AddCheck(health.Check{Name: "database", Probe: store.db.PingContext})
	go status.Run(ctx)
	mux.Handle(procedures.Add(health.NewHandler(status)))
	reflection.New(&procedures).Mount(mux)
	files, err := fs.Sub(page, "page")
	if err != nil {
		return err
	}
	mux.Handle("/", http.FileServerFS(files))

	metricsMux := http.NewServeMux()
	metricsMux.Handle("GET /metrics", observer.metrics)

	rpc := server.New(mux, server.Logger(c.log), server.OnDrain(status.Shutdown), server.Grace(10*time.Second),
		server.Listen(c.addr, server.TLSFiles(filepath.Join(c.dir, "cert.pem"), filepath.Join(c.dir, "key.pem"))))
	metrics := server.New(metricsMux, server.Logger(c.log), server.Listen(c.metrics))
	if err := errors.Join(rpc.Open(), metrics.Open()); err != nil {
		return errors.Join(err, rpc.Close(), metrics.Close())
	}
	ready("https://"+rpc.Addrs()[0].String(), "http://"+metrics.Addrs()[0].String()+"/metrics")
	ended := make(chan error, 1)
	go func() {
		defer cancel() // one server ends with the other
		ended <- metrics.Run(ctx)
	}()
	err = rpc.Run(ctx)
	cancel()
	return errors.Join(err, <-ended)
}
