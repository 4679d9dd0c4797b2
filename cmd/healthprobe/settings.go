// SPDX-License-Identifier: Apache-2.0

// The flags, and what they mean for the connection and the call.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/health"
)

// settings are the values of the flags.
type settings struct {
	addr, service, protocol, userAgent     string
	connectTimeout, rpcTimeout             time.Duration
	tls, noVerify, version                 bool
	caCert, clientCert, clientKey, tlsName string
	header                                 http.Header

	url  string // made of addr
	unix string // the socket's path, if addr names one
}

// parse returns the settings of a command line.
func parse(args []string, output io.Writer) (*settings, error) {
	s := &settings{header: make(http.Header)}
	f := flag.NewFlagSet("healthprobe", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&s.addr, "addr", "", "server: `host:port`, http://…, https://…, or unix:///path (required)")
	f.StringVar(&s.service, "service", "", "full `name` of the service; empty: the whole server")
	f.StringVar(&s.protocol, "protocol", "grpc", "grpc, grpcweb or connect; all but grpc also work over HTTP/1.1")
	f.StringVar(&s.userAgent, "user-agent", "healthprobe", "User-Agent of the call")
	f.DurationVar(&s.connectTimeout, "connect-timeout", time.Second, "time for the connection, and as much again for TLS")
	f.DurationVar(&s.rpcTimeout, "rpc-timeout", time.Second, "time for the call")
	f.BoolVar(&s.tls, "tls", false, "use TLS, as https:// does")
	f.BoolVar(&s.noVerify, "tls-no-verify", false, "do not verify the server's certificate")
	f.StringVar(&s.caCert, "tls-ca-cert", "", "PEM `file` of authorities; empty: those of the system")
	f.StringVar(&s.clientCert, "tls-client-cert", "", "PEM `file` of the client's certificate")
	f.StringVar(&s.clientKey, "tls-client-key", "", "PEM `file` of the client's key")
	f.StringVar(&s.tlsName, "tls-server-name", "", "`name` in the server's certificate; empty: that of addr")
	f.BoolVar(&s.version, "version", false, "print the version")
	f.Func("rpc-header", "`name:value` to send; may be repeated", func(text string) error {
		name, value, found := strings.Cut(text, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || name == "" || strings.ContainsFunc(name, notInToken) || strings.ContainsFunc(value, unicode.IsControl) {
			return errors.New("expected name:value, as a header has them")
		}
		s.header.Add(name, value)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if s.version {
		return s, nil
	}
	return s, s.validate(f)
}

// validate checks the flags, and makes the URL.
func (s *settings) validate(f *flag.FlagSet) error {
	if f.NArg() > 0 {
		return fmt.Errorf("got argument %q: expected flags alone", f.Arg(0))
	}
	if s.addr == "" {
		return errors.New("-addr is missing: expected host:port, http://…, https://…, or unix:///path")
	}
	scheme, rest, given := strings.Cut(s.addr, "://")
	switch {
	case !given:
		scheme, rest = "http", s.addr
		if path, found := strings.CutPrefix(s.addr, "unix:"); found {
			scheme, rest = "unix", path
		}
	case scheme == "https":
		s.tls = true
	}
	switch scheme {
	case "unix":
		s.unix, rest = rest, "localhost"
	case "http", "https":
		if scheme == "http" && given && s.tls {
			return fmt.Errorf("-addr %q and -tls: expected https://… or no scheme", s.addr)
		}
	default:
		return fmt.Errorf("-addr %q: scheme %q: expected http, https or unix", s.addr, scheme)
	}
	s.url = "http://" + rest
	if s.tls {
		s.url = "https://" + rest
	}
	if parsed, err := url.Parse(s.url); err != nil || parsed.Host == "" || parsed.RawQuery+parsed.Fragment != "" || s.unix == "" && scheme == "unix" {
		return fmt.Errorf("-addr %q: expected host:port, http://…, https://…, or unix:///path", s.addr)
	}
	if !utf8.ValidString(s.service) {
		return fmt.Errorf("-service %q: expected a name in UTF-8", s.service)
	}
	if strings.ContainsFunc(s.userAgent, unicode.IsControl) {
		return fmt.Errorf("-user-agent %q: expected no control characters", s.userAgent)
	}
	if s.protocol != "grpc" && s.protocol != "grpcweb" && s.protocol != "connect" {
		return fmt.Errorf("-protocol %q: expected grpc, grpcweb or connect", s.protocol)
	}
	if s.connectTimeout <= 0 || s.rpcTimeout <= 0 {
		return fmt.Errorf("-connect-timeout %v, -rpc-timeout %v: expected positive times", s.connectTimeout, s.rpcTimeout)
	}
	if !s.tls && (s.noVerify || s.caCert+s.clientCert+s.clientKey+s.tlsName != "") {
		return errors.New("a flag for TLS without TLS: add -tls, or make -addr https://…")
	}
	if (s.clientCert == "") != (s.clientKey == "") {
		return errors.New("-tls-client-cert and -tls-client-key: expected both or none")
	}
	if s.noVerify && s.caCert != "" {
		return errors.New("-tls-no-verify and -tls-ca-cert: expected one of them")
	}
	return nil
}

// notInToken reports whether a character is none of a header's name (RFC 9110, section 5.6.2).
func notInToken(char rune) bool {
	return char > unicode.MaxASCII || !unicode.IsLetter(char) && !unicode.IsDigit(char) && !strings.ContainsRune("!#$%&'*+-.^_`|~", char)
}

// transport returns the way to the server. Its errors are those of files that flags name.
func (s *settings) transport() (*http.Transport, error) {
	t := &http.Transport{
		Protocols:           new(http.Protocols),
		TLSHandshakeTimeout: s.connectTimeout,
		TLSClientConfig:     &tls.Config{ServerName: s.tlsName, InsecureSkipVerify: s.noVerify},
	}
	dialer := &net.Dialer{Timeout: s.connectTimeout}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if s.unix != "" {
			network, address = "unix", s.unix
		}
		return dialer.DialContext(ctx, network, address)
	}
	switch {
	case s.tls:
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetHTTP1(s.protocol != "grpc")
	case s.protocol == "grpc":
		t.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
	}
	if s.caCert != "" {
		pem, err := os.ReadFile(s.caCert)
		if err != nil {
			return nil, fmt.Errorf("-tls-ca-cert: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-tls-ca-cert %q: expected certificates in PEM", s.caCert)
		}
	}
	if s.clientCert != "" {
		pair, err := tls.LoadX509KeyPair(s.clientCert, s.clientKey)
		if err != nil {
			return nil, fmt.Errorf("-tls-client-cert %q, -tls-client-key %q: %w", s.clientCert, s.clientKey, err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// check makes the call.
func (s *settings) check(ctx context.Context, transport *http.Transport) (health.Status, error) {
	options := map[string]connect.ClientOption{
		"grpc":    connect.WithGRPC(),
		"grpcweb": connect.WithGRPCWeb(),
		"connect": connect.WithClientOptions(),
	}[s.protocol]
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set("User-Agent", s.userAgent)
	for name, values := range s.header {
		for _, value := range values {
			call.RequestHeader().Add(name, value)
		}
	}
	// No redirects: the health is that of the server at addr.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return health.NewClient(client, s.url, options).Check(ctx, s.service)
}
