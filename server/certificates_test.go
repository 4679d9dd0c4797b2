// SPDX-License-Identifier: Apache-2.0

// Certificates from files: what is used, what is refused, and when.

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/server"
)

// shown returns the DNS name of the certificate that a new connection gets.
func shown(t testing.TB, c *server.Certificates) string {
	t.Helper()
	near, far := net.Pipe()
	l := c.Listener(&oneListener{conn: far})
	conn, err := l.Accept()
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.(*tls.Conn).Handshake()
		_ = far.Close()
	}()
	name := ""
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		name = s.PeerCertificates[0].DNSNames[0]
		return nil
	}})
	_ = client.Handshake()
	_ = near.Close()
	<-done
	return name
}

type oneListener struct {
	net.Listener
	conn net.Conn
}

func (l *oneListener) Accept() (net.Conn, error) { return l.conn, nil }

// TestReload changes files below a watch, in time that stands still. Each step of the table
// changes the files once; after two reads the wanted certificate is in use.
func TestReload(t *testing.T) {
	a := newAuthority(t)
	cert := make(map[string][]byte)
	key := make(map[string][]byte)
	for _, name := range []string{"one", "two"} {
		cert[name], key[name] = encode(t, a.issue(t, name))
	}
	half := func(data []byte) []byte { return data[:len(data)/2] }
	cutChain := func(data []byte) []byte { return data[:len(data)-40] } // half of the authority
	type change struct {
		cert, key, ca []byte // nil: remove
		want          string
		wantError     string // of OnReload; "": none
	}
	good := change{cert["two"], key["two"], a.encode(), "two", ""}
	for name, steps := range map[string][]change{
		"both":                {good},
		"no change":           {{cert["one"], key["one"], a.encode(), "one", ""}},
		"half a certificate":  {{half(cert["two"]), key["two"], a.encode(), "one", "not complete"}, good},
		"half a chain":        {{cutChain(cert["two"]), key["two"], a.encode(), "one", "not complete"}, good},
		"half a key":          {{cert["two"], half(key["two"]), a.encode(), "one", "not complete"}, good},
		"half an authority":   {{cert["two"], key["two"], half(a.encode()), "one", "not complete"}, good},
		"certificate first":   {{cert["two"], key["one"], a.encode(), "one", "does not match"}, good},
		"key first":           {{cert["one"], key["two"], a.encode(), "one", "does not match"}, good},
		"no certificate":      {{nil, key["two"], a.encode(), "one", "no such file"}, good},
		"no key":              {{cert["two"], nil, a.encode(), "one", "no such file"}, good},
		"no authority":        {{cert["two"], key["two"], nil, "one", "no such file"}, good},
		"empty":               {{[]byte{}, []byte{}, []byte{}, "one", "no PEM block"}, good},
		"empty authority":     {{cert["two"], key["two"], []byte("# none\n"), "one", "no PEM block"}, good},
		"key as authority":    {{cert["two"], key["two"], key["two"], "one", "PRIVATE KEY"}, good},
		"not DER":             {{cert["two"], key["two"], []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "one", "x509"}, good},
		"a chain not DER":     {{append(bytes.Clone(cert["two"]), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...), key["two"], a.encode(), "one", "chain"}, good},
		"too large":           {{make([]byte, 1<<20+1), key["two"], a.encode(), "one", "more than"}, good},
		"bad, then the first": {{half(cert["two"]), key["two"], a.encode(), "one", "not complete"}, {cert["one"], key["one"], a.encode(), "one", ""}},
		"bad, then other bad": {{half(cert["two"]), key["two"], a.encode(), "one", "not complete"}, {nil, key["two"], a.encode(), "one", "no such file"}, good},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder := t.TempDir()
				f := files{filepath.Join(folder, "cert"), filepath.Join(folder, "key"), filepath.Join(folder, "ca")}
				put(t, f.certificate, cert["one"])
				put(t, f.key, key["one"])
				put(t, f.authority, a.encode())
				reports := make(chan error, 100)
				c, err := server.LoadCertificates(f.certificate, f.key, server.ClientCA(f.authority), server.OnReload(func(err error) { reports <- err }))
				must(t, err)
				ctx, stop := context.WithCancel(t.Context())
				go c.Watch(ctx)
				defer synctest.Wait()
				defer stop()
				for i, step := range steps {
					for file, data := range map[string][]byte{f.certificate: step.cert, f.key: step.key, f.authority: step.ca} {
						if data == nil {
							must(t, os.Remove(file))
						} else {
							put(t, file, data)
						}
					}
					time.Sleep(time.Minute) // many reads: each state is reported once
					synctest.Wait()
					if got := shown(t, c); got != step.want {
						t.Errorf("step %d: got the certificate of %q, want that of %q", i, got, step.want)
					}
					if name == "no change" {
						if len(reports) != 0 {
							t.Errorf("got %d reports, want none", len(reports))
						}
						continue
					}
					if len(reports) != 1 {
						t.Fatalf("step %d: got %d reports, want 1", i, len(reports))
					}
					if err := <-reports; (err == nil) != (step.wantError == "") || err != nil && !strings.Contains(err.Error(), step.wantError) {
						t.Errorf("step %d: got the report %v, want %q", i, err, step.wantError)
					}
				}
			})
		})
	}
}

// TestReloadTwoReads uses a change when it has been read twice, and not one that lasts for one
// read.
func TestReloadTwoReads(t *testing.T) {
	a := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		f := a.write(t, t.TempDir(), "one")
		reports := make(chan error, 100)
		c, err := server.LoadCertificates(f.certificate, f.key, server.ReloadEvery(time.Second), server.OnReload(func(err error) { reports <- err }))
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		go c.Watch(ctx)
		defer synctest.Wait()
		defer stop()
		good, err := os.ReadFile(f.certificate)
		must(t, err)
		time.Sleep(time.Second / 2)
		put(t, f.certificate, good[:100]) // a writer at work, during one read
		time.Sleep(time.Second)
		put(t, f.certificate, good)
		time.Sleep(10 * time.Second)
		if len(reports) != 0 {
			t.Errorf("got %d reports of a state that was read once, want 0", len(reports))
		}
		a.write(t, filepath.Dir(f.certificate), "two")
		time.Sleep(time.Second)
		if got := shown(t, c); got != "one" {
			t.Errorf("got the certificate of %q after one read, want that of one", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := shown(t, c); got != "two" || len(reports) != 1 {
			t.Errorf("got the certificate of %q and %d reports after two reads, want two and 1", got, len(reports))
		}
		a.write(t, filepath.Dir(f.certificate), "three")
		must(t, c.Reload())
		if got := shown(t, c); got != "three" {
			t.Errorf("got the certificate of %q after Reload, want that of three", got)
		}
		put(t, f.key, nil)
		if err := c.Reload(); err == nil {
			t.Error("got nil from Reload of an empty key, want an error")
		}
		if got := shown(t, c); got != "three" {
			t.Errorf("got the certificate of %q after a Reload that failed, want that of three", got)
		}
	})
}

// TestReloadLinks changes the files as Kubernetes does: by a link to another folder.
func TestReloadLinks(t *testing.T) {
	a := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		for _, name := range []string{"one", "two"} {
			must(t, os.Mkdir(filepath.Join(folder, name), 0o700))
			a.write(t, filepath.Join(folder, name), name)
		}
		must(t, os.Symlink("one", filepath.Join(folder, "..data")))
		for _, file := range []string{"cert.pem", "key.pem"} {
			must(t, os.Symlink(filepath.Join("..data", file), filepath.Join(folder, file)))
		}
		c, err := server.LoadCertificates(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		go c.Watch(ctx)
		defer synctest.Wait()
		defer stop()
		must(t, os.Symlink("two", filepath.Join(folder, "..tmp")))
		must(t, os.Rename(filepath.Join(folder, "..tmp"), filepath.Join(folder, "..data")))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := shown(t, c); got != "two" {
			t.Errorf("got the certificate of %q, want that of two", got)
		}
	})
}

// TestLoadFails has files that cannot be used at first.
func TestLoadFails(t *testing.T) {
	f := newAuthority(t).write(t, t.TempDir(), "one")
	for name, load := range map[string]func() (*server.Certificates, error){
		"a folder": func() (*server.Certificates, error) { return server.LoadCertificates(filepath.Dir(f.key), f.key) },
		"swapped":  func() (*server.Certificates, error) { return server.LoadCertificates(f.key, f.certificate) },
		"no authority": func() (*server.Certificates, error) {
			return server.LoadCertificates(f.certificate, f.key, server.ClientCA(f.key))
		},
	} {
		if c, err := load(); err == nil || c != nil || !strings.HasPrefix(err.Error(), "server: ") {
			t.Errorf("%s: got %v, %v, want an error", name, c, err)
		}
	}
}

// TestClientCA changes the authority of clients below a running server.
func TestClientCA(t *testing.T) {
	ours, old, next := newAuthority(t), newAuthority(t), newAuthority(t)
	f := ours.write(t, t.TempDir(), "server.test")
	put(t, f.authority, old.encode())
	reloaded := make(chan error, 10)
	s := start(t, echo(), server.Listen("127.0.0.1:0", server.TLSFiles(f.certificate, f.key,
		server.ClientCA(f.authority), server.ReloadEvery(time.Millisecond), server.OnReload(func(err error) { reloaded <- err }))))
	// A caller keeps its sessions of TLS: one that an authority has verified is not resumed
	// after the authority is gone.
	newCaller := func(certificates ...tls.Certificate) func() error {
		sessions := tls.NewLRUClientSessionCache(8)
		return func() error {
			config := &tls.Config{RootCAs: ours.pool, Certificates: certificates, ClientSessionCache: sessions}
			return unary(t.Context(), newClient(transportTo(t, s.Addrs()[0], config, true), true, pathUnary), "a")
		}
	}
	known, coming, none := newCaller(old.issue(t, "ada")), newCaller(next.issue(t, "ada")), newCaller()
	for range 2 {
		if err := known(); err != nil {
			t.Errorf("got %v with the authority's certificate, want an answer", err)
		}
	}
	if err := none(); err == nil {
		t.Error("got an answer without a certificate, want an error")
	}
	if err := coming(); err == nil {
		t.Error("got an answer with another authority's certificate, want an error")
	}
	put(t, f.authority, next.encode())
	for err := <-reloaded; err != nil; err = <-reloaded { // reports of a file that is being written
	}
	if err := known(); err == nil {
		t.Error("got an answer with the old authority's certificate, want an error")
	}
	if err := coming(); err != nil {
		t.Errorf("got %v with the new authority's certificate, want an answer", err)
	}
}

// TestReloadUnderLoad writes new files in place, half at a time, while callers open
// connections. No handshake fails.
func TestReloadUnderLoad(t *testing.T) {
	const changes = 20
	a := newAuthority(t)
	f := a.write(t, t.TempDir(), "server.test")
	used := make(chan struct{}, 1)
	s := start(t, echo(), server.Listen("127.0.0.1:0", server.TLSFiles(f.certificate, f.key, server.ReloadEvery(time.Millisecond),
		server.OnReload(func(err error) {
			if err == nil {
				used <- struct{}{}
			}
		}))))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	errs := make(chan error, 4)
	for i := range cap(errs) {
		go func() {
			for ctx.Err() == nil {
				transport := transportTo(t, s.Addrs()[0], &tls.Config{RootCAs: a.pool}, i%2 == 0)
				if err := unary(context.Background(), newClient(transport, true, pathUnary), "a"); err != nil {
					errs <- fmt.Errorf("a call: %w", err)
					return
				}
				closeTransport(transport)
			}
			errs <- nil
		}()
	}
	for range changes {
		chain, key := encode(t, a.issue(t, "server.test"))
		put(t, f.certificate, chain[:len(chain)/2])
		put(t, f.key, key)
		put(t, f.certificate, chain)
		<-used
	}
	stop()
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func closeTransport(transport any) {
	switch transport := transport.(type) {
	case interface{ Close() error }:
		_ = transport.Close()
	case interface{ CloseIdleConnections() }:
		transport.CloseIdleConnections()
	}
}

// FuzzPEM reads files of any content. No content panics, and what is cut is an error.
func FuzzPEM(f *testing.F) {
	a := newAuthority(f)
	chain, key := encode(f, a.issue(f, "one"))
	both := append(bytes.Clone(chain), key...)
	f.Add(both)
	f.Add(both[:len(both)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"))
	f.Add([]byte("-"))
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(folder, "pem")
		put(t, file, data)
		_, err := server.LoadCertificates(file, file, server.ClientCA(file))
		if err == nil {
			t.Error("got nil for a file whose key is no authority, want an error")
		}
		_, _ = server.LoadCertificates(file, file)
	})
}

// TestCutAnywhere cuts a file at each byte. Nothing is used but whole blocks.
func TestCutAnywhere(t *testing.T) {
	a := newAuthority(t)
	f := a.write(t, t.TempDir(), "one")
	chain, err := os.ReadFile(f.certificate)
	must(t, err)
	var usable []int
	for i := range chain {
		put(t, f.certificate, chain[:i])
		if _, err := server.LoadCertificates(f.certificate, f.key); err == nil {
			usable = append(usable, i)
		}
	}
	end := bytes.Index(chain, []byte("-----END CERTIFICATE-----\n")) + len("-----END CERTIFICATE-----\n")
	want := []int{end - 1, end, len(chain) - 1} // without the last line's end, too
	if fmt.Sprint(usable) != fmt.Sprint(want) {
		t.Errorf("got files that are usable cut at %v of %d, want %v", usable, len(chain), want)
	}
}
