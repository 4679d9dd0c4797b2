// SPDX-License-Identifier: Apache-2.0

// Certificates from files that change.

package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const reloadEvery = 5 * time.Second

// Certificates serve TLS with a certificate, its key and maybe the authorities of clients,
// all from PEM files that are read again. [TLSFiles] has them for the listeners of a
// [Server]; other servers call [LoadCertificates], [Certificates.Listener] and
// [Certificates.Watch].
//
// Watch reads the files every five seconds, so it sees files that are written in place, that
// are renamed over the old ones, and symbolic links that change, as in the volumes of
// Kubernetes. It uses a change when two reads in a row have found the same bytes, because a
// writer may be at work, and when everything fits: each file is complete, each certificate can
// be parsed, and the key belongs to the first certificate. Otherwise the last good files stay
// in use, and the error is logged and passed to the functions of [OnReload], once for each
// state of the files. Each file may have up to 1 MiB.
//
// New connections get the new certificate. Connections that are open keep the old one, and
// clients that an authority has verified which is no longer in the file stay connected:
// bound that with the MaxConnAge of [Engine]. A session of TLS cannot be resumed after a
// change, so that clients are verified again.
//
// The methods are safe for concurrent use.
type Certificates struct {
	certFile, keyFile, caFile string
	every                     time.Duration
	base                      *tls.Config
	onReload                  []func(error)
	logger                    *slog.Logger // nil: slog.Default

	current atomic.Pointer[tls.Config]

	mu    sync.Mutex // held while files are read
	seen  string     // the state of the files at the last read
	acted string     // the state that is in use, or whose error was reported
}

// A TLSOption changes [Certificates].
type TLSOption func(*Certificates)

// ClientCA makes the server ask clients for certificates and verify them with the
// authorities in a PEM file, which is read again, too. Clients without a certificate are
// refused, unless the ClientAuth of [TLSBase] says otherwise. It panics if file is "".
func ClientCA(file string) TLSOption {
	if file == "" {
		panic(`server: ClientCA(""): pass the name of a PEM file`)
	}
	return func(c *Certificates) { c.caFile = file }
}

// TLSBase sets the rest of the configuration of TLS: versions, curves, ClientAuth, hooks. The
// default is the zero value. NextProtos get "h2" and "http/1.1" if they are empty. It panics
// if config is nil, or has certificates or the hooks that choose them.
func TLSBase(config *tls.Config) TLSOption {
	if config == nil || len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil {
		panic("server: TLSBase: expected a configuration without Certificates, GetCertificate and GetConfigForClient: the files have the certificate")
	}
	config = config.Clone()
	return func(c *Certificates) { c.base = config }
}

// OnReload has f called after each attempt of [Certificates.Watch] to use files that have
// changed: with nil when they are in use, and with the error otherwise. Calls for one address, or
// the result of one [LoadCertificates], come one after the other, and the files are not read
// meanwhile. A panic in f is logged. OnReload panics if f is nil.
func OnReload(f func(error)) TLSOption {
	if f == nil {
		panic("server: OnReload(nil): pass the function to call")
	}
	return func(c *Certificates) { c.onReload = append(c.onReload, f) }
}

// ReloadEvery is the time between two reads of the files. The default is 5 seconds. A change
// is used after two reads at most twice as long. It panics if d is not positive.
func ReloadEvery(d time.Duration) TLSOption {
	if d <= 0 {
		panic(fmt.Sprintf("server: ReloadEvery(%v): expected more than 0", d))
	}
	return func(c *Certificates) { c.every = d }
}

// LoadCertificates reads the files. It fails if they cannot be used. The files with the
// certificate, followed by the rest of its chain, and with the key may be one. It panics if
// a name is "".
func LoadCertificates(certFile, keyFile string, options ...TLSOption) (*Certificates, error) {
	c := newCertificates(certFile, keyFile, options)()
	if err := c.Reload(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return c, nil
}

// newCertificates checks the names, and returns a function that makes new Certificates, with
// nothing read yet.
func newCertificates(certFile, keyFile string, options []TLSOption) func() *Certificates {
	if certFile == "" || keyFile == "" {
		panic(fmt.Sprintf("server: certificate file %q, key file %q: expected the names of both", certFile, keyFile))
	}
	if slices.ContainsFunc(options, func(o TLSOption) bool { return o == nil }) {
		panic("server: certificates: an option is nil")
	}
	return func() *Certificates {
		c := &Certificates{certFile: certFile, keyFile: keyFile, every: reloadEvery, base: new(tls.Config)}
		for _, option := range options {
			option(c)
		}
		return c
	}
}

// Listener returns a listener whose connections are of TLS, each with the newest
// certificate. It closes inner.
func (c *Certificates) Listener(inner net.Listener) net.Listener {
	return &tlsListener{inner, c}
}

type tlsListener struct {
	net.Listener
	certificates *Certificates
}

// Accept returns a connection whose handshake has not begun.
func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(conn, l.certificates.current.Load()), nil
}

// Watch reads the files again and again until ctx ends. Call it once: two at the same time would
// take a read of the other for the second one.
func (c *Certificates) Watch(ctx context.Context) {
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.poll(ctx)
		}
	}
}

// Reload reads the files at once, as for SIGHUP, and uses them even if they have changed
// just now. If it fails, the last good ones stay in use.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, state, err := c.read()
	if err == nil {
		err = c.use(files)
	}
	if err != nil {
		return err
	}
	c.seen, c.acted = state, state
	return nil
}

// poll reads the files once for Watch.
func (c *Certificates) poll(ctx context.Context) {
	err, acted := c.look()
	if !acted {
		return
	}
	logger := c.logger
	if logger == nil {
		logger = slog.Default()
	}
	if err != nil {
		logger.Error("server: the files of TLS have changed and cannot be used; the last good ones stay in use", "error", err)
	} else {
		logger.Info("server: the files of TLS have changed and are in use", "certificate", c.certFile, "until", c.current.Load().Certificates[0].Leaf.NotAfter)
	}
	for _, f := range c.onReload {
		done := make(chan struct{})
		go func() { // which may end with a panic, or without one, and the watch does not
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					logger.Error("server: a function of OnReload has panicked", "panic", p, "stack", string(debug.Stack()))
				}
			}()
			f(err)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// look reads the files, and acts on a state that is new and that the last read has seen, too.
func (c *Certificates) look() (err error, acted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, state, err := c.read()
	if state == c.acted || state != c.seen {
		c.seen = state
		return nil, false
	}
	c.acted = state
	if err != nil {
		return err, true
	}
	return c.use(files), true
}

// use makes a configuration of the files and puts it in the place of the last one.
func (c *Certificates) use(files tlsFiles) error {
	config, err := files.config(c.base)
	if err != nil {
		return err
	}
	c.current.Store(config)
	return nil
}

// read reads the files. The state is equal for equal bytes and for equal errors.
func (c *Certificates) read() (files tlsFiles, state string, err error) {
	sum := sha256.New()
	var errs []error
	for _, f := range []struct {
		to   *pemFile
		name string
	}{{&files.certificate, c.certFile}, {&files.key, c.keyFile}, {&files.authorities, c.caFile}} {
		f.to.name = f.name
		if f.name == "" {
			continue
		}
		if f.to.data, err = readPEM(f.name); err != nil {
			errs = append(errs, err)
		}
		fmt.Fprintf(sum, "%d ", len(f.to.data))
		sum.Write(f.to.data)
	}
	if err = errors.Join(errs...); err != nil {
		return files, "error: " + err.Error(), err
	}
	return files, string(sum.Sum(nil)), nil
}
