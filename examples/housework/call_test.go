// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-b7c59c10/connect"
	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
	"github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1/houseworkv1connect"
	"github.com/seed-b7c59c10/connect/health"
)

// household makes certificates and starts a server.
func household(t *testing.T) (dir string, s *process) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "housework-data")
	if err := writeCerts(io.Discard, dir, []string{"ada", "grace"}); err != nil {
		t.Fatal(err)
	}
	return dir, startServer(t, filepath.Dir(dir))
}

// TestBadRequests has the errors of requests that make no sense, in all protocols.
func TestBadRequests(t *testing.T) {
	dir, s := household(t)
	ada := options{dir: dir, url: s.url, person: "ada"}
	long := strings.Repeat("é", maxTitle)
	type maid = houseworkv1connect.RobotMaidClient
	addAll := func(titles ...string) func(maid) error {
		return func(m maid) error {
			_, err := m.Add(t.Context(), &houseworkv1.AddRequest{Titles: titles})
			return err
		}
	}
	completeAll := func(ids ...int32) func(maid) error {
		return func(m maid) error {
			_, err := m.Complete(t.Context(), &houseworkv1.CompleteRequest{Ids: ids})
			return err
		}
	}
	for _, test := range []struct {
		name string
		call func(maid) error
		want string // "" for success
	}{
		{"one chore", addAll(long), ""},
		{"no title", addAll(), "invalid_argument: reading titles: got 0, want 1 to 100"},
		{"too many titles", addAll(make([]string, 101)...), "invalid_argument: reading titles: got 101, want 1 to 100"},
		{"an empty title", addAll("mop", ""), "invalid_argument: reading titles: got one of 0 characters, want 1 to 200"},
		{"a long title", addAll("mop", long+"é"), "invalid_argument: reading titles: got one of 201 characters, want 1 to 200"},
		{"a large request", addAll(strings.Repeat("mop", 1<<20)), "resource_exhausted: "},
		{"no number", completeAll(), "invalid_argument: reading ids: got 0, want 1 to 100"},
		{"too many numbers", completeAll(make([]int32, 101)...), "invalid_argument: reading ids: got 101, want 1 to 100"},
		{"an unknown number", completeAll(1, -7), "not_found: completing chores: no chore has the number -7; List has them all"},
	} {
		for _, protocol := range []string{"connect", "grpc", "grpcweb"} {
			t.Run(test.name+"/"+protocol, func(t *testing.T) {
				err := ada.at(s.url, protocol).call(test.call)
				if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && (test.want == "" || !strings.HasPrefix(got, test.want)) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		}
	}
	// No refused request has changed anything.
	err := ada.at(s.url, "connect").call(func(m maid) error {
		res, err := m.List(t.Context(), &houseworkv1.ListRequest{OpenOnly: true})
		if n := len(res.GetChores()); n != 3 {
			t.Errorf("got %d open chores, want the 3 that were added", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFull fills the file.
func TestFull(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "chores.json"))
	if err != nil {
		t.Fatal(err)
	}
	f.chores.Store(&houseworkv1.Chores{Chores: make([]*houseworkv1.Chore, maxChores)})
	_, err = (&maid{f}).Add(t.Context(), &houseworkv1.AddRequest{Titles: []string{"mop"}})
	if want := "resource_exhausted: adding chores: there are 10000 already, at most 10000 fit"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestPerson has certificates that the authority has signed, with one name and without.
func TestPerson(t *testing.T) {
	for _, test := range []struct {
		names         []string
		subject, want string
	}{
		{names: []string{"ada"}, subject: "ada", want: "<nil>"},
		{want: "unauthenticated: looking for a name in the certificate: got 0 DNS names, want one; the command certs makes certificates that have it"},
		{names: []string{"ada", "grace"}, want: "unauthenticated: looking for a name in the certificate: got 2 DNS names, want one; the command certs makes certificates that have it"},
	} {
		identity, err := person(t.Context(), connect.Identity{DNSNames: test.names})
		if identity.Subject != test.subject || fmt.Sprint(err) != test.want {
			t.Errorf("%q: got %q and %v, want %q and %s", test.names, identity.Subject, err, test.subject, test.want)
		}
	}
}

// TestCertificates has clients that the server must refuse, and a client that must refuse
// the server.
func TestCertificates(t *testing.T) {
	dir, s := household(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := writeCerts(io.Discard, other, []string{"ada"}); err != nil {
		t.Fatal(err)
	}
	ours, err := readCerts(dir, "ada")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := readCerts(other, "ada")
	if err != nil {
		t.Fatal(err)
	}
	asServer, err := readCerts(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		certs []tls.Certificate
		roots *tls.Config
		ok    bool
		log   string // in the server's log
	}{
		{name: "ada", certs: ours.Certificates, roots: ours, ok: true},
		{name: "none", roots: ours, log: "tls: client didn't provide a certificate"},
		{name: "another household's", certs: theirs.Certificates, roots: ours, log: "certificate signed by unknown authority"},
		{name: "the server's own", certs: asServer.Certificates, roots: ours, log: "certificate specifies an incompatible key usage"},
		{name: "another household's server", certs: ours.Certificates, roots: theirs, log: "remote error: tls: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: test.certs, RootCAs: test.roots.RootCAs}, ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			client := houseworkv1connect.NewRobotMaidClient(&http.Client{Transport: transport}, s.url, connect.WithGRPC())
			_, err := client.List(t.Context(), &houseworkv1.ListRequest{})
			if test.ok != (err == nil) {
				t.Errorf("got %v, want success: %t", err, test.ok)
			}
			status, err := health.NewClient(&http.Client{Transport: transport}, s.url).Check(t.Context(), houseworkv1connect.RobotMaidName)
			if test.ok && (err != nil || status != health.StatusServing) || !test.ok && err == nil {
				t.Errorf("got the health %v and %v, want success: %t", status, err, test.ok)
			}
			s.stderr.wait(t, test.log)
		})
	}
	if status := s.end(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca-key.pem")); err == nil {
		t.Error("got a key of the authority, want that it is thrown away")
	}
}
