// SPDX-License-Identifier: Apache-2.0

// Addresses: what they mean, their options, and how they are opened.

package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/seed-b7c59c10/connect/server/systemd"
)

// An address is one that a Server listens at.
type address struct {
	name  string
	own   net.Listener // of the program; the other fields but spent are empty then
	spent bool         // own is closed
	unix  unixSettings
	tls   *tls.Config
	files func() (*Certificates, error) // nil without TLSFiles
}

// A ListenOption changes an address of [Listen].
type ListenOption func(*address)

// Mode is the mode of a Unix socket's file: who may connect. The default is 0600, which is
// the server's own user alone. On Linux the file never has a wider mode, not even before it
// has its group. It panics if mode has other bits than permissions.
func Mode(mode fs.FileMode) ListenOption {
	if mode&^fs.ModePerm != 0 {
		panic(fmt.Sprintf("server: Mode(%O): expected permissions only, such as 0o660", uint32(mode)))
	}
	return func(a *address) { a.unix.mode, a.unix.hasMode = mode, true }
}

// Group is the group of a Unix socket's file, by name or number. The default is the
// server's own. The server's user must be a member, or root. It panics if group is "".
func Group(group string) ListenOption {
	if group == "" {
		panic(`server: Group(""): expected the name or the number of a group`)
	}
	return func(a *address) { a.unix.group = group }
}

// TLS serves TLS with a configuration of the program's. For HTTP/2 its NextProtos get "h2"
// and "http/1.1" if they are empty. It panics if config is nil or has no certificate.
func TLS(config *tls.Config) ListenOption {
	if config == nil || len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		panic("server: TLS: no certificate: set Certificates, GetCertificate or GetConfigForClient")
	}
	config = withProtocols(config.Clone())
	return func(a *address) { a.tls, a.files = config, nil }
}

// TLSFiles serves TLS with a certificate and its key from PEM files, and reads them again
// when they change; [Certificates] describes how. If they cannot be used at first, Open and
// Run fail.
func TLSFiles(certFile, keyFile string, options ...TLSOption) ListenOption {
	prepared := newCertificates(certFile, keyFile, options)
	load := func() (*Certificates, error) {
		c := prepared()
		if err := c.Reload(); err != nil {
			return nil, err
		}
		return c, nil
	}
	return func(a *address) { a.tls, a.files = nil, load }
}

func withProtocols(config *tls.Config) *tls.Config {
	if len(config.NextProtos) == 0 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config
}

// listen opens the address. Only those of systemd may be more than one listener.
func (a address) listen() ([]net.Listener, error) {
	switch {
	case a.own != nil && a.spent:
		return nil, fmt.Errorf("it was closed when another address had failed: %w", net.ErrClosed)
	case a.own != nil:
		return []net.Listener{a.own}, nil
	}
	scheme, rest, ok := strings.Cut(a.name, ":")
	isUnix := ok && scheme == "unix"
	if !isUnix && (a.unix.hasMode || a.unix.group != "") {
		return nil, errors.New(`Mode and Group are for addresses that begin with "unix:"; for those of systemd set SocketMode= and SocketGroup= in the socket's unit`)
	}
	switch {
	case isUnix:
		return one(a.unix.listen(unixPath(rest)))
	case ok && scheme == "systemd" && rest == "":
		return systemd.TakeAll()
	case ok && scheme == "systemd":
		return systemd.Take(rest)
	case slices.Contains([]string{"http", "https", "tcp"}, scheme) && strings.HasPrefix(rest, "//"):
		return nil, errors.New(`expected no scheme: write "host:port"`)
	case a.name == "":
		return nil, errors.New(`expected "host:port", "unix:/path" or "systemd:name"`)
	default:
		return one(net.Listen("tcp", a.name))
	}
}

func one(l net.Listener, err error) ([]net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// unixPath returns the path in what follows "unix:", which may be a URL's "///path".
func unixPath(rest string) string {
	if strings.HasPrefix(rest, "///") {
		return rest[2:]
	}
	return rest
}
