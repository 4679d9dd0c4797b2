// SPDX-License-Identifier: Apache-2.0

// This file compiles the blocks of all pages at once, and runs those of each
// page in their order.

package guidetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// greetModule is the module that the pages' schema and programs belong to.
const greetModule = "example.com/greet"

// schemaPage holds the whole schema; other pages print lines of it.
const schemaPage, schemaFile = "docs/guide/README.md", "proto/greet/v1/greet.proto"

// addresses are those that the pages' programs listen on; the tests put free
// ones in their place.
var addresses = regexp.MustCompile(`localhost:(8080|8443)`)

func TestPages(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{readmePage}
	guide, err := filepath.Glob(filepath.Join(checkout, "docs", "guide", "*.md"))
	if err != nil || len(guide) == 0 {
		t.Fatalf("looking for the guide: %q, %v", guide, err)
	}
	for _, path := range guide {
		names = append(names, "docs/guide/"+filepath.Base(path))
	}
	book := &book{t: t, checkout: checkout, dir: t.TempDir(), pages: make(map[string][]block), fresh: make(map[string]string)}
	for _, name := range names {
		blocks, err := parsePage(name, readFile(t, filepath.Join(checkout, name)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range blocks {
			blocks[i].text = addresses.ReplaceAllStringFunc(blocks[i].text, func(address string) string { return book.address(name, address) })
		}
		book.pages[name] = blocks
	}
	book.compile(names)
	proxy := moduleProxy(t, checkout)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			newReader(t, book, name, proxy).readPage()
		})
	}
}

// A book is all pages, and the module that their blocks are compiled in.
type book struct {
	t             *testing.T
	checkout, dir string
	pages         map[string][]block
	fresh         map[string]string // page and printed address -> free address
}

func (b *book) address(page, printed string) string {
	key := page + " " + printed
	if b.fresh[key] == "" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		listener.Close()
		b.fresh[key] = "localhost:" + port
	}
	return b.fresh[key]
}

// printed puts the page's own addresses back into an output.
func (b *book) printed(page, output string) string {
	for key, fresh := range b.fresh {
		if address, ok := strings.CutPrefix(key, page+" "); ok {
			output = strings.ReplaceAll(output, fresh, address)
		}
	}
	return output
}

// name returns the package that a block becomes.
func (b block) name() string {
	base := strings.TrimSuffix(filepath.Base(b.page), ".md")
	return fmt.Sprintf("%s_%d", strings.ToLower(regexp.MustCompile(`\W`).ReplaceAllString(base, "_")), b.line)
}

func (b block) isProgram() bool {
	return b.language == "go" && regexp.MustCompile(`(?m)^package main$`).MatchString(b.text)
}

// compiles reports whether the block is Go that the book's module holds.
func (b block) compiles() bool {
	return b.language == "go" && !strings.HasPrefix(b.mark, "not run: ") && !strings.HasPrefix(b.mark, "file ")
}

// compile generates the schema's code and builds one program that runs each
// program of the pages by its package's name.
func (b *book) compile(names []string) {
	t := b.t
	t.Helper()
	schema := ""
	for _, block := range b.pages[schemaPage] {
		if block.mark == "file "+schemaFile {
			schema = block.text
		}
	}
	if schema == "" {
		t.Fatalf("%s has no block marked as the file %s", schemaPage, schemaFile)
	}
	writeFile(t, filepath.Join(b.dir, schemaFile), schema)
	writeFile(t, filepath.Join(b.dir, "one", schemaFile), strings.Replace(schema, greetModule+"/gen/greet/v1", onePackage, 1))
	b.generate()

	goMod := readFile(t, "go.mod")
	goMod = regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(goMod, "module "+greetModule)
	goMod = strings.ReplaceAll(goMod, "=> ../..", "=> "+b.checkout)
	writeFile(t, filepath.Join(b.dir, "go.mod"), goMod)
	writeFile(t, filepath.Join(b.dir, "go.sum"), readFile(t, "go.sum"))

	var uses, cases strings.Builder
	for _, page := range names {
		for _, block := range b.pages[page] {
			if !block.compiles() {
				if block.language == "protobuf" {
					checkSchema(t, schema, block)
				}
				continue
			}
			name := block.name()
			source, err := block.fragment, error(nil)
			if block.isProgram() {
				source = block.program
				fmt.Fprintf(&uses, "\t%q\n", greetModule+"/blocks/"+name)
				fmt.Fprintf(&cases, "\t%q: %s.Main,\n", name, name)
			}
			text, err := source(name)
			if err != nil {
				t.Error(err)
				continue
			}
			writeFile(t, filepath.Join(b.dir, "blocks", name, "block.go"), text)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	writeFile(t, filepath.Join(b.dir, "main.go"), "package main\n\nimport (\n\t\"os\"\n"+uses.String()+")\n\n"+
		"var programs = map[string]func(){\n"+cases.String()+"}\n\nfunc main() { programs[os.Args[1]]() }\n")
	b.run("go", "vet", "./...")
	b.run("go", "build", "-o", "programs", ".")
}

// generate writes the code of protoc-gen-go, of this library's generator and
// of grpc-go's below gen, and that of the first two as one package below one.
func (b *book) generate() {
	protogen := filepath.Join(b.dir, "protogen")
	b.runIn(filepath.Join(b.checkout, "internal", "protogen"), "go", "build", "-o", protogen, ".")
	grpc := filepath.Join(b.dir, "protoc-gen-go-grpc")
	b.runIn(".", "go", "build", "-o", grpc, "google.golang.org/grpc/cmd/protoc-gen-go-grpc")
	args := []string{"-checkout", b.checkout, "-I", filepath.Join(b.dir, "proto"), "-out", b.dir, "-opt", "module=" + greetModule}
	b.run(protogen, append(args, "-connect-opt", "simple", "greet/v1/greet.proto")...)
	b.run(protogen, append(args, "-connect-plugin", grpc, "greet/v1/greet.proto")...)
	args[3] = filepath.Join(b.dir, "one", "proto")
	b.run(protogen, append(args, "-connect-opt", "simple,package_suffix=", "greet/v1/greet.proto")...)
}

func (b *book) run(name string, args ...string) { b.runIn(b.dir, name, args...) }

func (b *book) runIn(dir, name string, args ...string) {
	b.t.Helper()
	command := exec.CommandContext(b.t.Context(), name, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if output, err := command.CombinedOutput(); err != nil {
		b.t.Fatalf("running %s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
}

// checkSchema checks that the schema has each line of a protobuf block.
func checkSchema(t *testing.T, schema string, b block) {
	t.Helper()
	if strings.HasPrefix(b.mark, "file ") || strings.HasPrefix(b.mark, "not run: ") {
		return
	}
	for line := range strings.Lines(b.text) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(schema, line) {
			t.Errorf("%s: the schema has no line %q", b, line)
		}
	}
}

// sameOutput reports whether a program printed the output on its page. JSON is
// compared by value: Protobuf's JSON has spaces at random.
func sameOutput(language, got, want string) bool {
	if language == "json" {
		var a, b bytes.Buffer
		return json.Compact(&a, []byte(got)) == nil && json.Compact(&b, []byte(want)) == nil && a.String() == b.String()
	}
	return strings.TrimSpace(got) == strings.TrimSpace(want)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
