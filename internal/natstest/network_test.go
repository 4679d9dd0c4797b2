// SPDX-License-Identifier: Apache-2.0

// Networks of NATS servers, and the ways in which users prove who they are.

package natstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// untilServed makes calls until one arrives: in a network, news of a subscription take a
// while to get to other NATS servers.
func untilServed(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for ctx := testContext(t); ; {
		err := kinds["unary"](ctx, newClient(nc))
		if err == nil {
			return
		}
		if connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("got %v, want an answer, or unavailable until there is a server", err)
		}
	}
}

// startCluster runs NATS servers that are routed to each other.
func startCluster(t *testing.T, n int) (all []*server.Server) {
	for i := range n {
		s := startServer(t, func(o *server.Options) {
			o.ServerName = fmt.Sprint("node", i)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT}
			if i > 0 {
				o.Routes = server.RoutesFromStr("nats://" + all[0].ClusterAddr().String())
			}
		})
		all = append(all, s)
	}
	return all
}

// A cluster of three nodes, a worker and a client at each. One node is killed under load:
// calls in flight fail with unavailable and nothing else, every client gets answers again,
// and each call that was answered was handled once.
func TestClusterNodeKilled(t *testing.T) {
	nodes := startCluster(t, 3)
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.ClientURL())
	}
	// at connects to one node first, and to the others after that.
	at := func(i int) *nats.Conn {
		order := append(append([]string(nil), urls[i:]...), urls[:i]...)
		return dial(t, nodes[i], nats.DontRandomize(), func(o *nats.Options) error { o.Servers = order; return nil })
	}
	var handled sync.Map // by the text of the request: how often
	count := func(text string) { n, _ := handled.LoadOrStore(text, new(atomic.Int64)); n.(*atomic.Int64).Add(1) }
	clients := make([]*nats.Conn, len(nodes))
	for i := range nodes {
		serve(t, at(i), (&service{seen: count}).handler(), natsrpc.KeepAlive(time.Second))
		clients[i] = at(i)
	}
	for _, nc := range clients {
		untilServed(t, nc)
	}
	const before, after = 100, 100 // answered calls of each client
	var ready, done sync.WaitGroup
	var answered atomic.Int64
	killed := make(chan struct{})
	ready.Add(len(clients))
	for i, nc := range clients {
		client := conntestv1connect.NewTestServiceClient(natsrpc.NewClient(nc, natsrpc.KeepAlive(time.Second)), base, connect.WithGRPC()) // frames that are lost with the node are noticed soon
		done.Go(func() {
			good, waited, ctx := 0, false, testContext(t)
			for n := 0; good < before+after; n++ {
				text := fmt.Sprint(i, "/", n)
				response, err := client.Unary(ctx, connect.NewRequest(&conntestv1.Request{Text: text, Data: make([]byte, 1000)}))
				switch {
				case err == nil && response.Msg.Text == text:
					good++
					answered.Add(1)
					if once, _ := handled.Load(text); once == nil || once.(*atomic.Int64).Load() != 1 {
						t.Errorf("call %s: got another number of handlers, want 1", text)
					}
				case connect.CodeOf(err) != connect.CodeUnavailable:
					t.Errorf("call %s: got %v, want its answer or unavailable", text, err)
					return
				}
				if good == before && !waited {
					waited = true
					ready.Done()
					<-killed
				}
			}
		})
	}
	ready.Wait()
	go stopServer(nodes[1])
	close(killed)
	done.Wait()
	if got := answered.Load(); got != int64(len(clients)*(before+after)) {
		t.Errorf("got %d answers, want %d", got, len(clients)*(before+after))
	}
}

// A leaf node: the client is at the leaf, the server at the hub, and the other way round.
func TestLeafNode(t *testing.T) {
	hub := startServer(t, func(o *server.Options) {
		o.ServerName = "hub"
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	})
	leaf := startServer(t, func(o *server.Options) {
		o.ServerName = "leaf"
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats-leaf", Host: fmt.Sprintf("127.0.0.1:%d", leafPort(t, hub))}}}}
	})
	for name, pair := range map[string][2]*server.Server{"client at the leaf": {hub, leaf}, "client at the hub": {leaf, hub}} {
		t.Run(name, func(t *testing.T) {
			serve(t, dial(t, pair[0]), new(service).handler())
			nc := dial(t, pair[1])
			untilServed(t, nc)
			for protocol, options := range protocols {
				t.Run(protocol, func(t *testing.T) { callAll(t, newClient(nc, options...), 300_000) })
			}
		})
	}
}

func leafPort(t *testing.T, s *server.Server) int {
	t.Helper()
	z, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.LeafNode.Port
}

// ---- authentication ----

func TestAuthentication(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	certificate, pool := newCertificate(t)
	trusted, credentials := newCredentials(t)
	for name, test := range map[string]struct {
		server    func(*server.Options)
		good, bad nats.Option
	}{
		"user and password": {func(o *server.Options) { o.Username, o.Password = "u", "p" }, nats.UserInfo("u", "p"), nats.UserInfo("u", "x")},
		"token":             {func(o *server.Options) { o.Authorization = "t" }, nats.Token("t"), nats.Token("x")},
		"nkey": {func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			nats.Nkey(public, user.Sign), nats.Nkey(public, func([]byte) ([]byte, error) { return make([]byte, 64), nil })},
		"credentials": {trusted, nats.UserCredentials(credentials), nats.Token("x")},
		"TLS": {func(o *server.Options) {
			o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		}, nats.Secure(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}), nats.Secure(&tls.Config{RootCAs: pool})},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, test.server)
			serve(t, dial(t, s, test.good), new(service).handler())
			nc := dial(t, s, test.good)
			for kind, call := range kinds {
				if err := call(testContext(t), newClient(nc)); err != nil {
					t.Errorf("%s: got %v, want an answer", kind, err)
				}
			}
			if nc, err := nats.Connect(s.ClientURL(), test.bad); err == nil {
				nc.Close()
				t.Error("got a connection with a wrong proof, want none")
			}
		})
	}
}

// newCertificate returns a certificate for both sides, and the pool that trusts it.
func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// newCredentials returns a setting of NATS servers that trust an operator, and a file with
// the credentials of a user of one of its accounts.
func newCredentials(t *testing.T) (func(*server.Options), string) {
	t.Helper()
	operator, _ := nkeys.CreateOperator()
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	operatorKey, _ := operator.PublicKey()
	accountKey, _ := account.PublicKey()
	userKey, _ := user.PublicKey()
	seed, _ := user.Seed()
	accountToken, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userToken, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(userToken, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) {
		resolver := &server.MemAccResolver{}
		if err := resolver.Store(accountKey, accountToken); err != nil {
			t.Fatal(err)
		}
		o.TrustedKeys, o.AccountResolver = []string{operatorKey}, resolver
	}, file
}

// Two accounts do not see each other's services.
func TestAccounts(t *testing.T) {
	one, two := server.NewAccount("one"), server.NewAccount("two")
	s := startServer(t, func(o *server.Options) {
		o.Accounts = []*server.Account{one, two}
		o.Users = []*server.User{{Username: "a", Password: "p", Account: one}, {Username: "b", Password: "p", Account: two}}
	})
	serve(t, dial(t, s, nats.UserInfo("a", "p")), new(service).handler())
	if err := kinds["unary"](context.Background(), newClient(dial(t, s, nats.UserInfo("a", "p")))); err != nil {
		t.Errorf("got %v in the account, want an answer", err)
	}
	err := kinds["unary"](context.Background(), newClient(dial(t, s, nats.UserInfo("b", "p"))))
	wantError(t, "other account", err, connect.CodeUnavailable, "no server listens")
	if !strings.Contains(err.Error(), "prefix") {
		t.Errorf("got %v, want the likely reasons", err)
	}
}
