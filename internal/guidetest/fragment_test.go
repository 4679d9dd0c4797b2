// SPDX-License-Identifier: Apache-2.0

// This file makes compilable files of the pages' blocks of Go.

package guidetest

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

// imports are the packages that fragments use without importing them, by the
// name they have there.
var imports = map[string]string{
	"bytes": "bytes", "context": "context", "tls": "crypto/tls", "x509": "crypto/x509", "errors": "errors", "fmt": "fmt",
	"io": "io", "log": "log", "slog": "log/slog", "net": "net", "http": "net/http", "httptest": "net/http/httptest",
	"os": "os", "signal": "os/signal", "strings": "strings", "sync": "sync", "testing": "testing", "time": "time",
	"synctest": "testing/synctest",
	"syscall":  "syscall", "hex": "encoding/hex", "sha256": "crypto/sha256", "slices": "slices",
	"auth":           "github.com/seed-b7c59c10/connect/auth",
	"jwt":            "github.com/seed-b7c59c10/connect/auth/jwt",
	"cors":           "github.com/seed-b7c59c10/connect/cors",
	"lambda":         "github.com/seed-b7c59c10/connect/lambda",
	"balance":        "github.com/seed-b7c59c10/connect/balance",
	"connect":        "github.com/seed-b7c59c10/connect",
	"dynamic":        "github.com/seed-b7c59c10/connect/dynamic",
	"h2":             "github.com/seed-b7c59c10/connect/h2",
	"retry":          "github.com/seed-b7c59c10/connect/retry",
	"nats":           "github.com/nats-io/nats.go",
	"natsrpc":        "github.com/seed-b7c59c10/connect/nats",
	"jetstream":      "github.com/nats-io/nats.go/jetstream",
	"overload":       "github.com/seed-b7c59c10/connect/overload",
	"telemetry":      "github.com/seed-b7c59c10/connect/telemetry",
	"accesslog":      "github.com/seed-b7c59c10/connect/accesslog",
	"validate":       "github.com/seed-b7c59c10/connect/validate",
	"consul":         "github.com/seed-b7c59c10/connect/consul",
	"api":            "github.com/hashicorp/consul/api",
	"drain":          "github.com/seed-b7c59c10/connect/drain",
	"proxy":          "github.com/seed-b7c59c10/connect/proxy",
	"registry":       "github.com/seed-b7c59c10/connect/registry",
	"server":         "github.com/seed-b7c59c10/connect/server",
	"health":         "github.com/seed-b7c59c10/connect/health",
	"reflection":     "github.com/seed-b7c59c10/connect/reflection",
	"connecttest":    "github.com/seed-b7c59c10/connect/connecttest",
	"inprocess":      "github.com/seed-b7c59c10/connect/inprocess",
	"zstd":           "github.com/seed-b7c59c10/connect/compress/zstd",
	"br":             "github.com/seed-b7c59c10/connect/compress/br",
	"greetv1":        greetModule + "/gen/greet/v1",
	"greetv1connect": greetModule + "/gen/greet/v1/greetv1connect",
	"chi":            "github.com/go-chi/chi/v5",
	"gorilla":        "github.com/gorilla/mux",
	"http3":          "github.com/quic-go/quic-go/http3",
	"errdetails":     "google.golang.org/genproto/googleapis/rpc/errdetails",
	"proto":          "google.golang.org/protobuf/proto",
	"protojson":      "google.golang.org/protobuf/encoding/protojson",
}

// variables are those that fragments use without a declaration. They are package
// variables, so that a fragment may declare its own.
const variables = `
type server struct{ greetv1connect.UnimplementedGreetServiceHandler }

var (
	ctx        context.Context
	mux        = http.NewServeMux()
	httpServer = new(http.Server)
	httpClient = http.DefaultClient
	client     greetv1connect.GreetServiceClient
	svc        *consul.Service
	apiClient  *api.Client
	request    *greetv1.GreetRequest
	response   *greetv1.GreetResponse
	err        error
)
`

// readmePage is the page whose generated code is one package, as its first example
// generates it. That package is in onePackage.
const (
	readmePage = "README.md"
	onePackage = greetModule + "/one/greet/v1"
)

// declarations returns variables as the block's page has them.
func (b block) declarations() string {
	if b.page == readmePage {
		return strings.ReplaceAll(variables, "greetv1connect.", "greetv1.")
	}
	return variables
}

// path returns the import path of a name in imports.
func (b block) path(name string) string {
	if b.page == readmePage && name == "greetv1" {
		return onePackage
	}
	return imports[name]
}

// program returns the source of a program's block as a package that another
// program can run: package main and func main become package name and func
// Main.
func (b block) program(name string) (string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, b.String(), b.text, parser.ParseComments)
	if err != nil {
		return "", err
	}
	if file.Name.Name != "main" {
		return "", fmt.Errorf("%s: package %s, want main", b, file.Name.Name)
	}
	file.Name.Name = name
	found := false
	for _, declaration := range file.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "main" {
			function.Name.Name, found = "Main", true
		}
	}
	if !found {
		return "", fmt.Errorf("%s: a program without func main", b)
	}
	var out strings.Builder
	err = format.Node(&out, files, file)
	return out.String(), err
}

// fragment returns a file of package name that compiles the block: its
// declarations as they are, or its statements in a function.
func (b block) fragment(name string) (string, error) {
	body := b.text
	files := token.NewFileSet()
	if _, err := parser.ParseFile(files, b.String(), "package p\n"+body, 0); err != nil {
		// Results allow a fragment to return the values of its handler.
		body = "func _() {\n" + b.text + "\n}\n"
		if strings.Contains(b.text, "return nil, ") {
			body = "func _() (*greetv1.GreetResponse, error) {\n" + b.text + "\n}\n"
		}
		file, err := parser.ParseFile(files, b.String(), "package p\n"+body, 0)
		if err != nil {
			return "", fmt.Errorf("%s: neither declarations nor statements: %w", b, err)
		}
		body = strings.TrimSuffix(body, "}\n") + uses(file) + "}\n"
	}
	source := body + b.declarations()
	used, err := packagesIn(body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", b, err)
	}
	// A block that declares the service itself, or that uses the package of this name.
	if strings.Contains(body, "type server struct") || slices.Contains(used, "server") {
		_, after, _ := strings.Cut(b.declarations(), "\n\n")
		source = body + after
	}
	used, err = packagesIn(source)
	if err != nil {
		return "", fmt.Errorf("%s: %w", b, err)
	}
	var head strings.Builder
	fmt.Fprintf(&head, "package %s\n\nimport (\n", name)
	for _, name := range used {
		alias := ""
		if base := path.Base(b.path(name)); base != name {
			alias = name + " "
		}
		fmt.Fprintf(&head, "\t%s%q\n", alias, b.path(name))
	}
	return head.String() + ")\n\n" + source, nil
}

// uses returns statements that use the variables that the function of a fragment
// declares, as the rest of its program would.
func uses(file *ast.File) string {
	statements := file.Decls[0].(*ast.FuncDecl).Body.List
	if len(statements) > 0 {
		if _, ok := statements[len(statements)-1].(*ast.ReturnStmt); ok {
			return ""
		}
	}
	var out strings.Builder
	for _, statement := range statements {
		if assign, ok := statement.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE {
			for _, left := range assign.Lhs {
				if name := left.(*ast.Ident).Name; name != "_" {
					fmt.Fprintf(&out, "_ = %s\n", name)
				}
			}
		}
	}
	return out.String()
}

// packagesIn returns the names in imports that source selects from.
func packagesIn(source string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+source, 0)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if name, ok := selector.X.(*ast.Ident); ok && imports[name.Name] != "" {
				used[name.Name] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(used)), nil
}
