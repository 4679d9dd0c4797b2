// SPDX-License-Identifier: Apache-2.0

// The client: it signs in when it has to, and repeats calls that are safe to repeat.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
	"github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1/shopv1connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// A dialer makes clients of one server, which share its connections.
type dialer struct {
	url       string
	transport *h2.Transport
	options   []connect.ClientOption // of each client
}

// dial returns a dialer that trusts the certificate in dir. The caller closes its transport.
func dial(dir, url string, options ...connect.ClientOption) (*dialer, error) {
	cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		return nil, errors.New("reading the server's certificate: cert.pem has none")
	}
	return &dialer{url, h2.NewTransport(&h2.TransportConfig{TLSClientConfig: &tls.Config{RootCAs: roots}}), options}, nil
}

// client returns a client whose calls have a token of the user, or none if user is "".
func (d *dialer) client(user, password string, options ...connect.ClientOption) shopv1connect.ShopServiceClient {
	httpClient := &http.Client{Transport: d.transport}
	options = append(slices.Concat(d.options, options), connect.WithHTTPGet(), connect.WithInterceptors(retry.New()))
	if user != "" {
		plain := shopv1connect.NewShopServiceClient(httpClient, d.url, d.options...)
		options = append(options, auth.Credentials(auth.TokenFunc(func(ctx context.Context) (auth.Token, error) {
			res, err := plain.SignIn(ctx, &shopv1.SignInRequest{User: user, Password: password})
			if err != nil { // with the code of the answer, which says that another attempt would not help
				return auth.Token{}, connect.NewError(connect.CodeOf(err), fmt.Errorf("signing in %q: %w", user, err))
			}
			return auth.Token{Value: res.Token, Expires: time.Now().Add(time.Duration(res.ExpiresIn) * time.Second)}, nil
		})))
	}
	return shopv1connect.NewShopServiceClient(httpClient, d.url, options...)
}

// watch calls f with an order and each of its changes, until it is delivered. When the
// server ends, the connection is lost or the token expires, it watches again.
func watch(ctx context.Context, client shopv1connect.ShopServiceClient, id int64, f func(*shopv1.Order)) error {
	seen := shopv1.Status_STATUS_UNSPECIFIED
	once := func() (began bool, err error) {
		stream, err := client.WatchOrder(ctx, &shopv1.WatchOrderRequest{OrderId: id})
		if err != nil {
			return false, err
		}
		defer stream.Close()
		for stream.Receive() {
			began = true
			if order := stream.Msg(); order.Status > seen {
				seen = order.Status
				f(order)
			}
		}
		return began, stream.Err()
	}
	for {
		began, err := once()
		expired := began && connect.CodeOf(err) == connect.CodeUnauthenticated
		if err == nil || connect.CodeOf(err) != connect.CodeUnavailable && !expired {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
