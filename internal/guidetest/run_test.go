// SPDX-License-Identifier: Apache-2.0

// This file runs the blocks of one page, as its reader would.

package guidetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freshAddresses finds the addresses that the tests put in the place of the pages'.
var freshAddresses = regexp.MustCompile(`localhost:\d+`)

// patience bounds one block: the first run compiles a code generator.
const patience = 4 * time.Minute

// A reader follows one page: it writes the files, runs the commands and the
// programs, and compares their output. Shell blocks share the working
// directory, as they do in a terminal.
type reader struct {
	t        *testing.T
	book     *book
	page     string
	folder   string // the working directory
	env      []string
	printed  string // by the last block that ran
	language string // of the last block that ran
}

func newReader(t *testing.T, b *book, page, proxy string) *reader {
	home := t.TempDir()
	r := &reader{t: t, book: b, page: page, folder: filepath.Join(home, "work")}
	if err := os.Mkdir(r.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	// Modules come from the folder alone, into a cache that is empty.
	// Directories of the cache stay writable, so that they can be removed, and
	// built packages do not depend on where it lies.
	r.env = append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(proxy), "GOSUMDB=off", "GONOSUMDB=", "GOPRIVATE=", "GONOPROXY=", "GOWORK=off",
		"GOMODCACHE="+filepath.Join(home, "modules"), "GOFLAGS=-modcacherw -trimpath",
		"PATH="+proxy+string(os.PathListSeparator)+os.Getenv("PATH"),
	)
	return r
}

func (r *reader) readPage() {
	for _, b := range r.book.pages[r.page] {
		if strings.HasPrefix(b.mark, "not run: ") {
			continue
		}
		if name, ok := strings.CutPrefix(b.mark, "file "); ok {
			if b.language == "json" {
				r.checkJSON(b)
			}
			writeFile(r.t, filepath.Join(r.folder, filepath.FromSlash(name)), b.text)
			continue
		}
		switch {
		case b.mark == "output":
			if r.language == "" {
				r.t.Errorf("%s: an output, and nothing before it ran", b)
			}
			if got := r.book.printed(r.page, r.printed); !sameOutput(b.language, got, r.book.printed(r.page, b.text)) {
				r.t.Errorf("%s: got the output\n%s\nwant\n%s", b, got, b.text)
			}
		case b.language == "json":
			r.checkJSON(b)
		case b.language == "sh":
			r.start(b, "sh", "-e", "-c", b.text+"\npwd > "+filepath.Join(r.folder, "..", "pwd"))
		case b.isProgram():
			r.start(b, filepath.Join(r.book.dir, "programs"), b.name())
		default:
			continue // compiled, or words
		}
	}
}

func (r *reader) checkJSON(b block) {
	if !json.Valid([]byte(b.text)) {
		r.t.Errorf("%s: not JSON", b)
	}
}

// start runs a block: to its end, or until the page's end if it serves.
func (r *reader) start(b block, name string, args ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Env = r.folder, r.env
	// A group of its own: commands of a shell end with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if b.mark != "serve" {
		defer cancel()
		if err := command.Run(); err != nil {
			r.t.Fatalf("%s: %v\n%s%s", b, err, &stdout, &stderr)
		}
		r.printed, r.language = stdout.String(), b.language
		if folder, err := os.ReadFile(filepath.Join(r.folder, "..", "pwd")); err == nil && b.language == "sh" {
			r.folder = strings.TrimSpace(string(folder))
		}
		return
	}
	if err := command.Start(); err != nil {
		cancel()
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	r.t.Cleanup(func() {
		cancel()
		<-ended
	})
	for _, address := range r.listensOn(b) {
		if err := waitFor(ctx, address, ended); err != nil {
			cancel()
			<-ended
			ended <- nil
			r.t.Fatalf("%s: %v\n%s%s", b, err, &stdout, &stderr)
		}
	}
}

// listensOn returns the addresses that a block mentions, or the files of its
// page if it mentions none.
func (r *reader) listensOn(b block) []string {
	if found := freshAddresses.FindAllString(b.text, -1); found != nil {
		return found
	}
	var files strings.Builder
	for _, other := range r.book.pages[r.page] {
		if strings.HasPrefix(other.mark, "file ") {
			files.WriteString(other.text)
		}
	}
	return freshAddresses.FindAllString(files.String(), -1)
}

// waitFor returns once something accepts connections on addr.
func waitFor(ctx context.Context, addr string, ended chan error) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return connection.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return errors.Join(errors.New("the server ended"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}
