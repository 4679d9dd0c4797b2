// SPDX-License-Identifier: Apache-2.0

// This file publishes the checkout and its dependencies to a module proxy in a
// folder, where `go get` finds them as it does after a release.

package guidetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// published is the version that the proxy has of this repository's modules,
// and the one that the pages print.
const published = "v" + connect.ModuleVersion

// moduleProxy returns the folder. It holds the program buf, too, which the
// README takes from the PATH.
func moduleProxy(t *testing.T, checkout string) string {
	t.Helper()
	proxy := t.TempDir()
	const path = "github.com/seed-b7c59c10/connect"
	for _, nested := range []string{"", "/dropin", "/compress", "/cors", "/grpcadapter", "/nats", "/overload", "/validate", "/auth/jwt", "/consul", "/telemetry"} {
		version := module.Version{Path: path + nested, Version: published}
		dir := filepath.Join(checkout, filepath.FromSlash(nested))
		folder := versionsOf(t, proxy, version.Path)
		var archive bytes.Buffer
		if err := zip.CreateFromDir(&archive, version, dir); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, published+".zip"), archive.String())
		writeFile(t, filepath.Join(folder, published+".mod"), readFile(t, filepath.Join(dir, "go.mod")))
		writeFile(t, filepath.Join(folder, published+".info"), `{"Version":"`+published+`","Time":"2026-01-01T00:00:00Z"}`)
		writeFile(t, filepath.Join(folder, "list"), published+"\n")
	}
	copyModules(t, proxy, checkout, modulesOf(t, checkout, "all"))
	// connect-go requires an older Protobuf.
	copyModules(t, proxy, checkout, append(modulesOf(t, ".", "connectrpc.com/connect"), "google.golang.org/protobuf@v1.36.11"))

	buf := exec.CommandContext(t.Context(), "go", "tool", "-n", "buf")
	buf.Dir = filepath.Join(checkout, "internal", "buftest")
	program, err := buf.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(string(bytes.TrimSpace(program)), filepath.Join(proxy, "buf")); err != nil {
		t.Fatal(err)
	}
	return proxy
}

// modulesOf returns modules that the module in dir requires, as path@version.
func modulesOf(t *testing.T, dir, pattern string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{if not (or .Main .Replace)}}{{.Path}}@{{.Version}}{{end}}", pattern)
	list.Dir = dir
	versions, err := list.Output()
	if err != nil {
		t.Fatalf("listing the modules of %s: %v", dir, err)
	}
	return strings.Fields(string(versions))
}

// copyModules copies modules from the go command's cache, or fetches them.
func copyModules(t *testing.T, proxy, dir string, versions []string) {
	t.Helper()
	// With versions, the command leaves go.sum alone.
	download := exec.CommandContext(t.Context(), "go", append([]string{"mod", "download", "-json"}, versions...)...)
	download.Dir = dir
	output, err := download.Output()
	if err != nil {
		t.Fatalf("downloading the modules of %s: %v\n%s", dir, err, output)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var found struct{ Path, Version, Info, GoMod, Zip string }
		if err := decoder.Decode(&found); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		folder := versionsOf(t, proxy, found.Path)
		for _, file := range []string{found.Info, found.GoMod, found.Zip} {
			writeFile(t, filepath.Join(folder, filepath.Base(file)), readFile(t, file))
		}
		list := ""
		if known, err := os.ReadFile(filepath.Join(folder, "list")); err == nil {
			list = string(known)
		}
		writeFile(t, filepath.Join(folder, "list"), list+found.Version+"\n")
	}
}

// versionsOf returns the folder of a module's versions in the proxy.
func versionsOf(t *testing.T, proxy, path string) string {
	t.Helper()
	escaped, err := module.EscapePath(path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
}
