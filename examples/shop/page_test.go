// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

// driver fills the page's form in as a person does, and posts each text that the page shows.
const driver = `<script type="module">
let last = Promise.resolve(); // so that texts arrive in their order
const report = (text) => { last = last.then(() => fetch("/report", { method: "POST", body: text })); };
const seen = new Set();
new MutationObserver(() => {
  const message = document.getElementById("message").textContent;
  const statuses = [...document.querySelectorAll("#statuses li")].map((li) => li.textContent);
  for (const text of [message, ...statuses]) {
    if (text && !seen.has(text)) { seen.add(text); report(text); }
  }
  const mop = document.querySelector("input[name=golden-mop]");
  if (!mop || seen.has("clicked")) return;
  seen.add("clicked");
  mop.value = 2;
  document.querySelector("button").click();
  const again = setInterval(() => {
    if (!document.getElementById("message").textContent.startsWith("failed_precondition")) return;
    clearInterval(again);
    mop.value = 1;
    document.querySelector("button").click();
  }, 10);
}).observe(document.body, { subtree: true, childList: true, characterData: true });
</script>`

// TestPage has a real Chromium order on the page: first more than there is, then the last one,
// which the staff moves while the page watches.
func TestPage(t *testing.T) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skipf("not run, because chromium is not installed (Debian: apt-get install chromium): %v", err)
	}
	d, _ := start(t)
	target, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	// The shop is behind a proxy that adds the driver to its page.
	proxy := &httputil.ReverseProxy{
		Transport: d.transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
				return nil
			}
			content, err := io.ReadAll(res.Body)
			content = bytes.Replace(content, []byte("</body>"), []byte(driver+"</body>"), 1)
			res.Body = io.NopCloser(bytes.NewReader(content))
			res.Header.Del("Content-Length")
			res.ContentLength = -1
			return err
		},
	}
	reports := make(chan string, 20)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/report" {
			proxy.ServeHTTP(w, r)
			return
		}
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
		select {
		case reports <- string(text):
		case <-r.Context().Done():
		}
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	browser, exited := chromium(ctx, t, program, front.URL)
	defer func() { cancel(); <-exited }()
	grace := d.client("grace", "hopper")
	for _, want := range []string{
		"failed_precondition: placing an order: not enough in stock; the details have what there is (golden-mop: 1 left)",
		"Order 1: 999.00", "placed", "packed", "delivered",
	} {
		select {
		case got := <-reports:
			if got != want {
				t.Errorf("got the text %q, want %q", got, want)
			}
		case err := <-exited:
			exited <- err
			t.Fatalf("Chromium ended with %v (%v) before the text %q; it wrote:\n%s", err, ctx.Err(), want, browser)
		}
		if next := map[string]shopv1.Status{"placed": shopv1.Status_STATUS_PACKED, "packed": shopv1.Status_STATUS_DELIVERED}[want]; next != 0 {
			if _, err := grace.SetStatus(ctx, &shopv1.SetStatusRequest{OrderId: 1, Status: next}); err != nil {
				t.Error(err)
			}
		}
	}
}

// chromium runs a headless Chromium until the context ends. Its output is to be read once it
// has exited.
func chromium(ctx context.Context, t *testing.T, program, url string) (output *bytes.Buffer, exited chan error) {
	t.Helper()
	// Chromium opens a socket in its home, whose path must be short.
	home, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	command := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad",
		"--no-first-run", "--disable-quic", "--no-proxy-server", "--ignore-certificate-errors", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-extensions", "--enable-logging=stderr", "--user-data-dir="+home, url)
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "TMPDIR="+home)
	output = new(bytes.Buffer)
	command.Stdout, command.Stderr = output, output
	// Chromium is a group of processes, which share the pipe that the output comes by.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Minute
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited = make(chan error, 1)
	go func() { exited <- command.Wait() }()
	return output, exited
}
