// SPDX-License-Identifier: Apache-2.0

// What the users of one connection share, at the moments when they begin and end.

package natsrpc

import (
	"bufio"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// quiet is a NATS server that takes all and delivers nothing.
type quiet struct{}

func (quiet) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		if _, err := io.WriteString(server, `INFO {"server_id":"quiet","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n"); err != nil {
			return
		}
		for r := bufio.NewReader(server); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			words := strings.Fields(line)
			switch words[0] {
			case "PING":
				_, err = io.WriteString(server, "PONG\r\n")
			case "PUB", "HPUB":
				n, _ := strconv.Atoi(words[len(words)-1])
				_, err = r.Discard(n + 2)
			}
			if err != nil {
				return
			}
		}
	}()
	return client, nil
}

// connectQuiet connects to a quiet server until the test ends.
func connectQuiet(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append(options, nats.InProcessServer(quiet{}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A user has the connection's error handler for as long as it uses it, also if another user
// ends at the moment when it begins.
func TestLinkHandler(t *testing.T) {
	called := 0
	nc := connectQuiet(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { called++ }))
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 5000 {
				l, err := acquire(nc, time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := reflect.ValueOf(nc.ErrorHandler()).Pointer(), reflect.ValueOf(l.handler).Pointer(); got != want {
					t.Error("got another error handler, want the link's")
				}
				l.release()
			}
		})
	}
	users.Wait()
	nc.ErrorHandler()(nc, nil, nil)
	if called != 1 {
		t.Errorf("got %d calls of the program's own handler, want 1", called)
	}
	if len(links.of) != 0 {
		t.Errorf("got %d links, want none", len(links.of))
	}
}
