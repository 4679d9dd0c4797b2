// SPDX-License-Identifier: Apache-2.0

// A user of the released modules: a home with an empty module cache and a
// module proxy, and the commands that are run there.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

type user struct {
	version string // of the released modules, as a tag has it
	tree    string // the checkout that was released
	home    string
	env     []string
}

// setUp makes the home. GOFLAGS lets directories of the module cache be
// removed, and keeps the names of temporary directories out of compiled
// packages, so that the build cache serves the next run. The checksum database
// is off: it cannot have a version that is not released yet.
func (u *user) setUp(ctx context.Context, proxy string) error {
	for _, dir := range []string{"modules", "bin"} {
		if err := os.MkdirAll(filepath.Join(u.home, dir), 0o755); err != nil {
			return err
		}
	}
	output, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	cache, others, ok := strings.Cut(strings.TrimSpace(string(output)), "\n")
	if !ok {
		return fmt.Errorf("go env: got %q, want GOMODCACHE and GOPROXY", output)
	}
	proxies := []string{fileURL(proxy), fileURL(filepath.Join(cache, "cache", "download")), others}
	bin := filepath.Join(u.home, "bin")
	u.env = append(os.Environ(),
		"GOPROXY="+strings.Join(proxies, ","), "GOSUMDB=off", "GOPRIVATE=", "GONOPROXY=", "GOWORK=off",
		"GOMODCACHE="+filepath.Join(u.home, "modules"), "GOFLAGS=-modcacherw -trimpath", "GOBIN="+bin,
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
	)
	return nil
}

func fileURL(path string) string { return "file://" + filepath.ToSlash(path) }

// run runs a program in a directory and returns its output. An error holds
// the command and its output.
func (u *user) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	command := u.command(ctx, dir, program, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(program), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

func (u *user) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	if found, err := exec.LookPath(filepath.Join(u.home, "bin", program)); err == nil && filepath.Base(program) == program {
		program = found // the PATH of this process lacks it
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Dir, command.Env = dir, u.env
	command.WaitDelay = 5 * time.Second
	return command
}

// goes runs go commands one after the other.
func (u *user) goes(ctx context.Context, dir string, commands ...string) error {
	for _, c := range commands {
		if _, err := u.run(ctx, dir, "go", strings.Fields(c)...); err != nil {
			return err
		}
	}
	return nil
}

// write writes files into a new directory.
func (u *user) write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// released checks that the program in dir is built with the module from the
// proxy: at the version that was published, from the user's module cache, and
// replaced only by the program's own directives.
func (u *user) released(ctx context.Context, dir string, paths ...string) error {
	for _, path := range paths {
		output, err := u.run(ctx, dir, "go", "list", "-m", "-f", "{{with .Replace}}{{.Version}} {{.Dir}}{{else}}{{.Version}} {{.Dir}}{{end}}", path)
		if err != nil {
			return err
		}
		version, from, _ := strings.Cut(strings.TrimSpace(output), " ")
		if version != u.version || !strings.HasPrefix(from, filepath.Join(u.home, "modules")) {
			return fmt.Errorf("%s: got %s from %s, want %s from the module cache", path, version, from, u.version)
		}
	}
	// A user's module never names a place on the machine.
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bytes.Contains(mod, []byte("=> .")) || bytes.Contains(mod, []byte("=> /")) {
		return fmt.Errorf("go.mod leads out of the proxy:\n%s", mod)
	}
	return nil
}
