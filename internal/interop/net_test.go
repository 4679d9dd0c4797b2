// SPDX-License-Identifier: Apache-2.0

// This file starts servers and dials them: HTTP/1.1 and HTTP/2 in cleartext, HTTP/2 over TLS, the latter two also on this
// module's engine.

package interop_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/grpcgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// transport is a way to reach a server.
type transport string

const (
	http1 transport = "http1" // HTTP/1.1 in cleartext
	h2c   transport = "h2c"   // HTTP/2 in cleartext, by prior knowledge
	h2tls transport = "tls"   // HTTP/2 over TLS, by ALPN

	engineH2C transport = "engine-h2c" // like h2c, with package h2 on our side
	engineTLS transport = "engine-tls" // like h2tls, with package h2 on our side
)

func (x transport) protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(x == http1)
	p.SetHTTP2(x.secure())
	p.SetUnencryptedHTTP2(x == h2c || x == engineH2C)
	return p
}

func (x transport) bidi() bool   { return x != http1 }
func (x transport) secure() bool { return x == h2tls || x == engineTLS }
func (x transport) engine() bool { return x == engineH2C || x == engineTLS }

// scheme is that of a server's URL.
func (x transport) scheme() string {
	if x.secure() {
		return "https"
	}
	return "http"
}

// foreign is the transport of the other side when ours is x: the same without the engine.
func (x transport) foreign() transport {
	switch x {
	case engineH2C:
		return h2c
	case engineTLS:
		return h2tls
	}
	return x
}

// certificate is a key for 127.0.0.1 and the pool that trusts it: those of net/http/httptest.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.TLS.Certificates[0], pool
})

// serve serves the handler until the test ends and returns its URL. It fails the test if a call still runs at the end:
// every handler has to end when its client is gone.
func serve(t *testing.T, x transport, handler http.Handler) (url string) {
	t.Helper()
	server := &http.Server{Handler: handler, Protocols: x.protocols()}
	listener := listen(t)
	url = x.scheme() + "://" + listener.Addr().String()
	if x.secure() {
		key, _ := certificate()
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{key}}
	}
	if x.engine() {
		if err := h2.ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		if x.secure() {
			done <- server.ServeTLS(listener, "", "")
		} else {
			done <- server.Serve(listener)
		}
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("stopping the server: %v; a handler did not notice that its client is gone", err)
			_ = server.Close()
		}
		<-done
	})
	return url
}

// serveGRPC is serve for a grpc-go server; it returns host and port.
func serveGRPC(t *testing.T, x transport) (address string) {
	t.Helper()
	var options []grpc.ServerOption
	if x.secure() {
		key, _ := certificate()
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&key)))
	}
	server := grpcgo.NewServer(options...)
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			server.GracefulStop()
		}()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		select {
		case <-stopped:
		case <-ctx.Done():
			t.Errorf("stopping the grpc-go server: %v; a call is still running", ctx.Err())
			server.Stop()
		}
		<-done
	})
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// httpClient speaks one version of HTTP and counts response messages. Dialled after its server, it is closed before it.
func httpClient(t *testing.T, x transport) *http.Client {
	t.Helper()
	_, pool := certificate()
	if x.engine() {
		next := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: &tls.Config{RootCAs: pool}})
		t.Cleanup(func() {
			if err := next.Close(); err != nil {
				t.Errorf("closing the engine's transport: %v", err)
			}
		})
		return &http.Client{Transport: interop.WatchTransport(next)}
	}
	next := &http.Transport{Protocols: x.protocols(), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(next.CloseIdleConnections)
	return &http.Client{Transport: interop.WatchTransport(next)}
}

// dialGRPC connects grpc-go to host and port.
func dialGRPC(t *testing.T, x transport, address string) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if x.secure() {
		_, pool := certificate()
		creds = credentials.NewClientTLSFromCert(pool, "")
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithStatsHandler(grpcgo.Stats{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("closing the grpc-go connection: %v", err)
		}
	})
	return conn
}

// authorityFile writes the certificate that clients have to trust, in PEM, and returns the file's name.
func authorityFile(t *testing.T) string {
	t.Helper()
	key, _ := certificate()
	return writePEM(t, "CERTIFICATE", key.Certificate[0])
}

// keyFile writes the key that belongs to it.
func keyFile(t *testing.T) string {
	t.Helper()
	key, _ := certificate()
	der, err := x509.MarshalPKCS8PrivateKey(key.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
