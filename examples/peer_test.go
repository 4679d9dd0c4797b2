// SPDX-License-Identifier: Apache-2.0

// Example: the caller's identity, from its certificate.

package examples_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// A gate lets a caller in by the SPIFFE ID of its verified certificate.
func Example_identity() {
	const procedure = "/bill.v1.BillService/Pay"
	gate := func(ctx context.Context, _ connect.Spec, peer connect.Peer, _ http.Header) (context.Context, error) {
		id, ok := peer.Identity()
		if !ok {
			return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("a client certificate is needed"))
		}
		fmt.Println("called by", id.SPIFFEID)
		return ctx, nil
	}
	certificate := spiffeCertificate("spiffe://acme.com/orders")
	clients := x509.NewCertPool()
	clients.AddCert(certificate.Leaf)
	server := httptest.NewUnstartedServer(connect.NewUnaryHandler(procedure,
		func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			return connect.NewResponse(&emptypb.Empty{}), nil
		}, connect.WithRequestGate(gate)))
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()

	client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure)
	_, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	fmt.Println(err)

	transport := server.Client().Transport.(*http.Transport).Clone() // trusts the server
	transport.TLSClientConfig.Certificates = []tls.Certificate{certificate}
	defer transport.CloseIdleConnections()
	client = connect.NewClient[emptypb.Empty, emptypb.Empty](&http.Client{Transport: transport}, server.URL+procedure)
	request := connect.NewRequest(&emptypb.Empty{})
	if _, err := client.CallUnary(context.Background(), request); err != nil {
		fmt.Println(err)
		return
	}
	id, _ := request.Peer().Identity() // the server's
	fmt.Println("served by", id.DNSNames)
	// Output:
	// unauthenticated: a client certificate is needed
	// called by spiffe://acme.com/orders
	// served by [example.com *.example.com]
}

// spiffeCertificate makes a certificate that signs itself, for this example.
func spiffeCertificate(id string) tls.Certificate {
	uri, err := url.Parse(id)
	if err != nil {
		panic(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
