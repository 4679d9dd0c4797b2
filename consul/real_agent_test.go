// SPDX-License-Identifier: Apache-2.0

// Real agents, and what tests ask of them. The program is named by the variable CONSUL, or it
// is consul on the path.

package consul_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect/consul"
)

// A program is one that a test has started.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  *output
}

// An output is what a program has printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run starts Consul with arguments. It ends with the test, which shows its output if it fails.
func run(t *testing.T, arguments ...string) *program {
	t.Helper()
	path := binary(t)
	p := &program{cmd: exec.Command(path, arguments...), done: make(chan struct{}), out: new(output)}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = p.out, p.out, 5*time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			text := p.out.String()
			t.Logf("consul %v printed:\n%s", arguments, text[max(0, len(text)-4000):])
		}
	})
	return p
}

func (p *program) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// binary returns the path of Consul.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CONSUL")
	if path == "" {
		var err error
		if path, err = exec.LookPath("consul"); err != nil {
			t.Skip("no real agent: set CONSUL to the path of the program, as .ci/run does")
		}
	}
	return path
}

// freePorts returns ports that nothing listens to.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// realAgent starts an agent for development, whose mesh is on.
func realAgent(t *testing.T, flags ...string) (client *api.Client, address string) {
	t.Helper()
	p := freePorts(t, 4)
	run(t, append([]string{"agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn", "-dns-port=-1", "-grpc-port=-1",
		"-http-port=" + p[0], "-server-port=" + p[1], "-serf-lan-port=" + p[2], "-serf-wan-port=" + p[3]}, flags...)...)
	address = "127.0.0.1:" + p[0]
	client = realClient(t, address, "")
	await(t, "the agent's mesh", func() bool {
		roots, _, err := client.Agent().ConnectCARoots(nil)
		return err == nil && len(roots.Roots) > 0
	})
	return client, address
}

// realClient returns a client with a token, whose connections end with the test.
func realClient(t *testing.T, address, token string) *api.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := api.NewClient(&api.Config{Address: address, Token: token, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// realService returns a ready service of a real agent.
func realService(t *testing.T, client *api.Client, name string) *consul.Service {
	t.Helper()
	s, err := consul.NewServiceWithConfig(name, consul.Config{Client: client, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// realInstance serves an instance that is registered with a check, and waits until it is
// healthy.
func realInstance(t *testing.T, client *api.Client, s *consul.Service, id string, handler http.Handler) *killer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{Listener: l, conns: make(map[net.Conn]bool)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(k, handler)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	if err := s.Register(within(t), consul.Registration{ID: id, Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Interval: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	await(t, "the agent's check", func() bool {
		entries, _, err := client.Health().Connect(s.Name(), "", true, nil)
		for _, e := range entries {
			if e.Service.ID == id {
				return true
			}
		}
		return err != nil
	})
	return k
}

// send sends JSON to an agent with a token, and returns its answer.
func send(t *testing.T, method, address, token, path string, value any) []byte {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(within(t), method, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Consul-Token", token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: got %s, %s", method, path, res.Status, answer)
	}
	return answer
}

// intend sets an intention, in the way of all versions: agents from 1.9 on have another one, too.
func intend(t *testing.T, client *api.Client, source, destination string, action api.IntentionAction) {
	t.Helper()
	i := &api.Intention{SourceName: source, DestinationName: destination, SourceType: api.IntentionSourceConsul, Action: action}
	list, _, err := client.Connect().Intentions(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range list {
		if each.SourceName == source && each.DestinationName == destination {
			//lint:ignore SA1019 1.8.7 has no other way
			if _, err := client.Connect().IntentionDelete(each.ID, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	//lint:ignore SA1019 1.8.7 has no other way
	if _, _, err := client.Connect().IntentionCreate(i, nil); err != nil {
		t.Fatal(err)
	}
}
