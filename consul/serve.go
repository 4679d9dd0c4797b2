// SPDX-License-Identifier: Apache-2.0

// Serving: TLS of the mesh in front of HTTP/1.1 and HTTP/2, whatever ALPN has agreed on.

package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// Serve accepts connections of the mesh from l and serves them with a handler, which
// [Service.Handler] protects: each call is decided about by the intentions. It speaks HTTP/1.1
// and HTTP/2, by the first bytes of the connection, and not by ALPN: Consul's own proxy offers
// "h2" for whatever it forwards. So applications that speak HTTP/1.1 can call through it.
//
// Serve closes l, and returns an error: [http.ErrServerClosed] after [Service.Close], which
// lets calls end for five seconds, and otherwise that of l. Then connections that are open stay
// so until Close.
func (s *Service) Serve(l net.Listener, handler http.Handler) error {
	if handler == nil {
		handler = http.DefaultServeMux
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: s.handler(handler), Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if o, ok := c.(opaque); ok {
				return context.WithValue(ctx, connKey{}, o.Conn)
			}
			return ctx
		},
	}
	if err := h2.ConfigureServer(server, nil); err != nil {
		_ = l.Close()
		return fmt.Errorf("consul: serving: %w", err)
	}
	if !s.members.addServer(server) {
		_ = l.Close()
		return http.ErrServerClosed
	}
	err := server.Serve(opaqueListener{tls.NewListener(l, s.serverTLSConfig(func() bool { return true }))})
	if errors.Is(err, http.ErrServerClosed) {
		s.members.removeServer(server)
	}
	return err
}

// An opaque connection hides from net/http that it has TLS: so net/http looks at its first
// bytes, and not at the protocol that ALPN has agreed on.
type opaque struct{ net.Conn }

type opaqueListener struct{ net.Listener }

func (l opaqueListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return opaque{c}, nil
}
