// SPDX-License-Identifier: Apache-2.0

// The public modules: their versions, the rules for their go.mod files, and their
// zip files in a module proxy.

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

const rootPath = "github.com/seed-b7c59c10/connect"

// publicModule is a module that users require. Its tag is dir/vX.Y.Z.
type publicModule struct {
	dir  string
	path string // in requirements
	name string // in its go.mod file, if it is another
}

// public is all public modules, the root first. The drop-in calls itself
// connectrpc.com/connect, for which a user's replace directive puts it.
var public = []publicModule{
	{dir: ".", path: rootPath},
	{dir: "auth/jwt", path: rootPath + "/auth/jwt"},
	{dir: "compress", path: rootPath + "/compress"},
	{dir: "cors", path: rootPath + "/cors"},
	{dir: "grpcadapter", path: rootPath + "/grpcadapter"},
	{dir: "nats", path: rootPath + "/nats"},
	{dir: "overload", path: rootPath + "/overload"},
	{dir: "validate", path: rootPath + "/validate"},
	{dir: "consul", path: rootPath + "/consul"},
	{dir: "telemetry", path: rootPath + "/telemetry"},
	{dir: "dropin", path: rootPath + "/dropin", name: "connectrpc.com/connect"},
}

// isOurs reports whether a module belongs to this repository.
func isOurs(path string) bool {
	return path == rootPath || strings.HasPrefix(path, rootPath+"/")
}

var versionLine = regexp.MustCompile(`(?m)^const ModuleVersion = "(.*)"$`)

// readVersion returns the version in version.go, as a tag has it.
func readVersion(tree string) (string, error) {
	text, err := os.ReadFile(filepath.Join(tree, "version.go"))
	if err != nil {
		return "", err
	}
	found := versionLine.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("version.go has no line %s", versionLine)
	}
	return validVersion(string(found[1]))
}

// validVersion returns the tag of a version such as 0.2.0.
func validVersion(version string) (string, error) {
	tag := "v" + version
	if !semver.IsValid(tag) || semver.Canonical(tag) != tag || strings.HasPrefix(tag, "v0.0.0") {
		return "", fmt.Errorf("version: got %q, want one such as 0.2.0, above 0.0.0", version)
	}
	return tag, nil
}

// setVersion writes a version into version.go, and as the requirement of this
// repository's modules into every go.mod file.
func setVersion(tree, version string) error {
	tag, err := validVersion(version)
	if err != nil {
		return err
	}
	path := filepath.Join(tree, "version.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = versionLine.ReplaceAll(text, []byte(`const ModuleVersion = "`+version+`"`))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return eachModule(tree, func(path string, file *modfile.File) error {
		for _, r := range file.Require {
			if isOurs(r.Mod.Path) {
				if err := file.AddRequire(r.Mod.Path, tag); err != nil {
					return err
				}
			}
		}
		file.Cleanup()
		text, err := file.Format()
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	})
}

// eachModule calls f for every go.mod file of the tree.
func eachModule(tree string, f func(path string, file *modfile.File) error) error {
	return filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && path != tree):
			return filepath.SkipDir
		case entry.Name() != "go.mod" || entry.IsDir():
			return nil
		}
		file, err := readModule(path)
		if err != nil {
			return err
		}
		return f(path, file)
	})
}

func readModule(path string) (*modfile.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(path, text, nil)
}

// checkModules checks that every module of the tree is public, an example or below internal,
// and checks the go.mod files of the public ones.
func checkModules(tree, version string) error {
	found := 0
	err := eachModule(tree, func(path string, file *modfile.File) error {
		dir, err := filepath.Rel(tree, filepath.Dir(path))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		for _, m := range public {
			if m.dir == dir {
				found++
				return checkModule(m, file, version)
			}
		}
		if !strings.HasPrefix(dir, "internal/") && !strings.HasPrefix(dir, "examples/") {
			return fmt.Errorf("%s/go.mod: a public module that releasecheck does not publish: add it to its list", dir)
		}
		return nil
	})
	if err == nil && found != len(public) {
		err = fmt.Errorf("got %d public modules in %s, want %d", found, tree, len(public))
	}
	return err
}

// checkModule checks the go.mod file of a public module. Users of a module see
// its requirements and not its replace directives. Those that lead to modules
// of this repository may stay: without them a change of two modules could not
// be built before it is released. Any other would hide the version that users
// get. The root module may have none: "go install" refuses modules with one.
func checkModule(m publicModule, file *modfile.File, version string) error {
	want := m.path
	if m.name != "" {
		want = m.name
	}
	if got := file.Module.Mod.Path; got != want {
		return fmt.Errorf("%s/go.mod: got module %s, want %s", m.dir, got, want)
	}
	for _, r := range file.Require {
		if got := r.Mod.Version; isOurs(r.Mod.Path) && got != version {
			return fmt.Errorf("%s/go.mod requires %s %s, want %s: run releasecheck -set", m.dir, r.Mod.Path, got, version)
		}
		if strings.HasPrefix(r.Mod.Version, "v0.0.0") && isPlaceholder(r.Mod.Version) {
			return fmt.Errorf("%s/go.mod requires %s %s, a version that nothing can download", m.dir, r.Mod.Path, r.Mod.Version)
		}
	}
	for _, r := range file.Replace {
		if m.dir == "." || !isOurs(r.Old.Path) {
			return fmt.Errorf("%s/go.mod replaces %s by %s, which its users do not get", m.dir, r.Old.Path, r.New.Path)
		}
	}
	return nil
}

// isPlaceholder reports whether a version is one that "go mod" writes for a
// module that is only there by a replace directive.
func isPlaceholder(version string) bool {
	return version == "v0.0.0" || strings.HasPrefix(version, "v0.0.0-00010101000000-")
}

// publish writes one version of a module into a proxy in a folder: the files
// that the GOPROXY protocol names (go.dev/ref/mod#goproxy-protocol).
func publish(proxy, tree string, m publicModule, version string) error {
	escaped, err := module.EscapePath(m.path)
	if err != nil {
		return err
	}
	folder := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	source := filepath.Join(tree, filepath.FromSlash(m.dir))
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"list":            version + "\n",
		version + ".info": fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, time.Now().UTC().Format(time.RFC3339)),
		version + ".mod":  string(mod),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(folder, version+".zip"))
	if err != nil {
		return err
	}
	if err := zip.CreateFromDir(archive, module.Version{Path: m.path, Version: version}, source); err != nil {
		archive.Close()
		return fmt.Errorf("pack %s: %w", m.path, err)
	}
	return archive.Close()
}
