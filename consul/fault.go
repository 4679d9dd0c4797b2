// SPDX-License-Identifier: Apache-2.0

// Codes for the errors of connections in the mesh.

package consul

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/seed-b7c59c10/connect"
)

// The alerts of TLS with which a peer refuses a certificate. [RFC 8446, section 6.2]
const (
	alertBadCertificate         = 42 // package tls sends it when VerifyConnection fails
	alertUnsupportedCertificate = 43
	alertCertificateRevoked     = 44
	alertCertificateExpired     = 45
	alertCertificateUnknown     = 46
	alertUnknownCA              = 48
	alertAccessDenied           = 49
	alertCertificateRequired    = 116
)

// ErrorOf returns err with the code of what it means in the mesh, for programs that use
// [Service.Dial] or a transport of their own; HTTPClient does so by itself.
//
// A server that denies a connection ends it with an alert of TLS. In TLS 1.3 that comes after
// the client's handshake, with the first read, and looks like a lost connection. It becomes
// permission_denied, and alerts about an expired, unknown or missing certificate become
// unauthenticated, as does a server with another identity than the expected one. No code of
// these is repeated by package retry. Other errors, and those that have a code, are returned as
// they are.
func ErrorOf(err error) error {
	var has *connect.Error
	if err == nil || errors.As(err, &has) {
		return err
	}
	var identity *identityError
	if errors.As(err, &identity) {
		return connect.NewError(connect.CodeUnauthenticated, &refusedError{fmt.Sprintf("connecting: %v", identity)})
	}
	switch alertOf(err) {
	case alertBadCertificate, alertCertificateUnknown, alertAccessDenied:
		return connect.NewError(connect.CodePermissionDenied, &refusedError{"consul: the server has refused the connection: no intention allows it, or the server does not trust the certificate; its log has the reason"})
	case alertUnsupportedCertificate, alertCertificateRevoked, alertCertificateExpired, alertUnknownCA, alertCertificateRequired:
		return connect.NewError(connect.CodeUnauthenticated, &refusedError{fmt.Sprintf("consul: the server has refused the certificate: %v", err)})
	}
	return err
}

// A refusedError ends a chain of errors: that of the transport says that no request was sent,
// with which package retry would send it again.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// alertOf returns the alert with which the peer has ended a connection, 0 if it has not.
// Package tls has its numbers in a type that it does not export.
func alertOf(err error) uint64 {
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return uint64(alert)
	}
	for err != nil {
		var remote *net.OpError
		if !errors.As(err, &remote) {
			return 0
		}
		if v := reflect.ValueOf(remote.Err); v.IsValid() && v.Kind() == reflect.Uint8 {
			return v.Uint()
		}
		err = remote.Err
	}
	return 0
}
