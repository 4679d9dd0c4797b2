// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

// TestReadme runs the commands of README.md for a shop that serves.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("not run, because curl is not installed (Debian: apt-get install curl): %v", err)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindSubmatch(text)
	if found == nil {
		t.Fatal("got a page without a block marked sh, want one")
	}
	dir := t.TempDir()
	url, _ := process(t, filepath.Join(dir, "shop-data"), "127.0.0.1:0")
	d, err := dial(filepath.Join(dir, "shop-data"), url)
	if err != nil {
		t.Fatal(err)
	}
	defer d.transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := d.client("ada", "lovelace").PlaceOrder(ctx, order(1, "broom", 2)); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, "sh", "-e", "-c", strings.ReplaceAll(string(found[1]), "https://localhost:8443", url))
	command.Dir = dir
	output, err := command.CombinedOutput()
	if want := shopv1.Status_STATUS_PACKED.String(); err != nil || !strings.Contains(string(output), want) {
		t.Errorf("got %v and the output %q, want an order with %s", err, output, want)
	}
}
