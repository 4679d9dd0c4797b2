// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

// process starts the program as a server on addr, and returns its URL when it listens.
func process(t *testing.T, dir, addr string) (url string, end func(os.Signal) (status int)) {
	t.Helper()
	command := exec.CommandContext(context.Background(), os.Args[0], "-dir", dir, "-addr", addr, "-metrics", "127.0.0.1:0")
	command.Env = append(os.Environ(), runEnv+"=1")
	var log bytes.Buffer
	command.Stderr = &log
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	end = func(signal os.Signal) int {
		if command.ProcessState == nil {
			_ = command.Process.Signal(signal)
			_ = command.Wait()
		}
		return command.ProcessState.ExitCode()
	}
	t.Cleanup(func() { end(os.Kill) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, _, found := strings.Cut(strings.TrimPrefix(line, "open "), " ")
	if !found {
		end(os.Kill)
		t.Fatalf("got the line %q and %v, want the server's URL; its log:\n%s", line, err, &log)
	}
	return url, end
}

// TestKill ends a server again and again, at the same address, while customers order and a
// customer watches an order. Each order that was answered is there, once, and nothing is
// taken out of stock for others.
func TestKill(t *testing.T) {
	const customers, answers = 4, 25 // in each round
	dir := t.TempDir()
	url, end := process(t, dir, "127.0.0.1:0")
	d, err := dial(dir, url)
	if err != nil {
		t.Fatal(err)
	}
	defer d.transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ada, grace := d.client("ada", "lovelace"), d.client("grace", "hopper")
	watched, err := grace.PlaceOrder(ctx, order(0, "bucket", 1))
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var count atomic.Int64
	answered, enough := make(map[string]int64), make(chan struct{})
	ordering, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for n := range customers {
		running.Go(func() {
			for i := 0; ordering.Err() == nil; i++ {
				callCtx, giveUp := context.WithCancel(ordering)
				if i%7 == 6 { // gives up before the call, or at any moment of it
					time.AfterFunc(time.Duration(i)*50*time.Microsecond, giveUp)
				}
				req := order(1_000_000*(n+1)+i, "broom", 1)
				res, err := ada.PlaceOrder(callCtx, req)
				giveUp()
				if err != nil {
					continue
				}
				mu.Lock()
				answered[req.RequestId] = res.Id
				mu.Unlock()
				if count.Add(1)%answers == 0 {
					select {
					case enough <- struct{}{}:
					default: // no round waits for it
					}
				}
			}
		})
	}
	seen := make(chan error, 1)
	go func() {
		seen <- watch(ctx, grace, watched.Id, func(order *shopv1.Order) { watched = order })
	}()

	for round, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Kill, syscall.SIGTERM} {
		select {
		case <-enough:
		case <-ctx.Done():
			t.Fatalf("round %d: got %d answers, want %d more", round, count.Load(), answers)
		}
		if status := end(signal); signal == syscall.SIGTERM && status != 0 {
			t.Errorf("round %d: got exit status %d, want 0", round, status)
		}
		_, end = process(t, dir, strings.TrimPrefix(url, "https://"))
	}
	for status := shopv1.Status_STATUS_PACKED; status <= shopv1.Status_STATUS_DELIVERED; status++ {
		if _, err := grace.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: status}); err != nil {
			t.Error(err)
		}
	}
	if err := <-seen; err != nil || watched.Status != shopv1.Status_STATUS_DELIVERED {
		t.Errorf("got %v and the last status %v, want nil and %v", err, watched.Status, shopv1.Status_STATUS_DELIVERED)
	}
	stop()
	running.Wait()
	if status := end(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}

	s, err := openStore(t.Context(), filepath.Join(dir, "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	for requestID, id := range answered {
		var found int64
		err := s.db.QueryRow("SELECT id FROM orders WHERE customer = 'ada' AND request_id = ?", requestID).Scan(&found)
		if err != nil || found != id {
			t.Errorf("got the order %d and %v for the request %s, want %d", found, err, requestID, id)
		}
	}
	var ordered, left int64
	err = s.db.QueryRow("SELECT (SELECT sum(quantity) FROM items WHERE product_id = 'broom'), (SELECT stock FROM products WHERE id = 'broom')").Scan(&ordered, &left)
	if err != nil || ordered+left != 10_000 || ordered < int64(len(answered)) {
		t.Errorf("got %d ordered, %d left and %v, want 10000 together, and at least the %d that were answered", ordered, left, err, len(answered))
	}
	t.Logf("%d orders were answered, %d are there", len(answered), ordered)
}
