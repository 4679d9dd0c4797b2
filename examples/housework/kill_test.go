// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
	"github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1/houseworkv1connect"
	"github.com/seed-b7c59c10/connect/h2"
)

// TestKill ends a server again and again while clients add chores and give up on some calls.
// What a client has an answer for is in the file, once.
func TestKill(t *testing.T) {
	dir, s := household(t)
	const clients, answers = 4, 20 // in each round
	answered := make(map[string]int32)
	var mu sync.Mutex
	for round, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Kill, syscall.SIGTERM, os.Kill} {
		if round > 0 {
			s = startServer(t, filepath.Dir(dir))
		}
		config, err := readCerts(dir, "ada")
		if err != nil {
			t.Fatal(err)
		}
		transport := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: config})
		maid := houseworkv1connect.NewRobotMaidClient(&http.Client{Transport: transport}, s.url)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var count atomic.Int64
		enough := make(chan struct{})
		var running sync.WaitGroup
		for c := range clients {
			running.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					callCtx, giveUp := context.WithCancel(ctx)
					if i%5 == 4 { // gives up before the call, or at any moment of it
						time.AfterFunc(time.Duration(i)*100*time.Microsecond, giveUp)
					}
					title := fmt.Sprintf("%d.%d.%d", round, c, i)
					res, err := maid.Add(callCtx, &houseworkv1.AddRequest{Titles: []string{title}})
					giveUp()
					if err != nil {
						continue
					}
					mu.Lock()
					answered[title] = res.Chores[0].Id
					mu.Unlock()
					if count.Add(1) == answers {
						close(enough)
					}
				}
			})
		}
		select {
		case <-enough:
		case <-ctx.Done():
			t.Fatalf("round %d: got %d answers, want %d; the log:\n%s", round, count.Load(), answers, &s.stderr)
		}
		if status := s.end(signal); signal == syscall.SIGTERM && status != 0 {
			t.Errorf("round %d: got exit status %d, want 0; the log:\n%s", round, status, &s.stderr)
		}
		cancel()
		running.Wait()
		_ = transport.Close()
	}

	f, err := openFile(filepath.Join(dir, "chores.json"))
	if err != nil {
		t.Fatal(err)
	}
	kept, last := make(map[string]int32), int32(0)
	for _, c := range f.read().Chores {
		if _, twice := kept[c.Title]; twice || c.Id <= last {
			t.Errorf("got %v after the number %d, want each title once, and numbers that grow", c, last)
		}
		kept[c.Title], last = c.Id, c.Id
	}
	for title, id := range answered {
		if kept[title] != id {
			t.Errorf("got the number %d for %q in the file, want %d", kept[title], title, id)
		}
	}
	t.Logf("%d chores were answered, %d are in the file", len(answered), len(kept))
}
