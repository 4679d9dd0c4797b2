// SPDX-License-Identifier: Apache-2.0

// Example: a server and a client with generated code, as in the package
// documentation of connect.

package examples_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
)

// greeter implements one method of the service; the others answer with
// CodeUnimplemented.
type greeter struct {
	greetv1connect.UnimplementedGreetServiceHandler
}

func (*greeter) Greet(_ context.Context, req *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: "Hello, " + req.Msg.GetName() + "!"}), nil
}

// A server for clients of all three protocols, without TLS.
func Example_server() {
	mux := http.NewServeMux()
	mux.Handle(greetv1connect.NewGreetServiceHandler(&greeter{}))
	server := &http.Server{Addr: "localhost:8080", Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC clients need HTTP/2
	log.Fatal(server.ListenAndServe())
}

// A client of the server of the example before.
func Example_client() {
	ctx := context.Background()
	client := greetv1connect.NewGreetServiceClient(http.DefaultClient, "http://localhost:8080")
	res, err := client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Msg.GetGreeting())
}

// TestPackageDoc compares the code in the package documentation of connect with
// this file: each line must be here, so that the compiler checks it.
func TestPackageDoc(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../connect.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("server_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := codeLines(parsed.Doc)
	if len(lines) < 8 {
		t.Errorf("got %d lines of code in the documentation, want a server and a client", len(lines))
	}
	for _, line := range lines {
		if !bytes.Contains(here, []byte("\n\t"+line+"\n")) {
			t.Errorf("the documentation has the line %q, which no example has", line)
		}
	}
}

// codeLines returns the lines of the code blocks in a doc comment.
func codeLines(doc *ast.CommentGroup) []string {
	var lines []string
	for _, block := range new(comment.Parser).Parse(doc.Text()).Content {
		if code, ok := block.(*comment.Code); ok {
			for line := range strings.Lines(code.Text) {
				lines = append(lines, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return lines
}
