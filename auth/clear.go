// SPDX-License-Identifier: Apache-2.0

// The check of the connection that carries credentials.

package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect"
)

// watch looks at the connections of one call.
type watch struct {
	loopback bool
	clear    atomic.Pointer[string] // the address of a connection in clear that was closed
}

// watch returns a context with which the transport reports its connections. It returns a nil
// watch if all are permitted.
func (c *client) watch(ctx context.Context) (context.Context, *watch) {
	if c.insecure {
		return ctx, nil
	}
	w := &watch{loopback: c.loopback}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: w.got}), w
}

// got is called before the transport writes the headers of a request to a connection. The
// types of package net are certain to be in clear; what another one does is not known.
func (w *watch) got(info httptrace.GotConnInfo) {
	local := false // to this machine
	switch conn := info.Conn.(type) {
	case *net.TCPConn:
		remote, ok := conn.RemoteAddr().(*net.TCPAddr)
		local = ok && remote.IP.IsLoopback()
	case *net.UnixConn:
		local = true
	default:
		return
	}
	if local && w.loopback {
		return
	}
	address := info.Conn.RemoteAddr().String()
	w.clear.CompareAndSwap(nil, &address)
	_ = info.Conn.Close() // the only way to keep the transport from writing
}

// explain returns the reason for an error of a call whose connection was closed.
func (w *watch) explain(spec connect.Spec, err error) error {
	if w == nil || err == nil || errors.Is(err, io.EOF) || connect.IsWireError(err) {
		return err
	}
	if address := w.clear.Load(); address != nil {
		return errClear(spec, "the connection to "+*address+" has no TLS")
	}
	return err
}
