// SPDX-License-Identifier: Apache-2.0

//go:build unix

// This file calls our server from a page of another origin, in Chromium, with the published @connectrpc/connect-web: CORS for
// Connect and gRPC-Web as browsers enforce it.

package interop_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect/cors"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The packages of npm, in versions that are known to work with testdata/connectweb.html.
var npmPackages = []string{"@connectrpc/connect-web@2.3.0", "@connectrpc/connect@2.3.0", "@bufbuild/protobuf@2.17.0"}

// The cases of testdata/connectweb.html for each protocol.
var connectWebCases = []string{
	"unary", "metadata", "error", "unimplemented", "stream", "stream_error", "deadline", "many", "header_refused", "origin_refused",
}

func TestConnectWeb(t *testing.T) {
	if os.Getenv("WITHOUT_NPM") != "" {
		t.Skip("NOT RUN: .ci/run has found no registry of npm, and says so in its first and last line")
	}
	chromium, npm := findChromium(t), findProgram(t, "npm", "npm")
	modules := installNPM(t, npm)
	for _, x := range []transport{http1, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			page := newChromiumServer()
			mux := http.NewServeMux()
			url := serve(t, http1, mux)
			requests := make(counted)
			calls := cors.Handler(ours.NewHandler(), cors.Origins(url), cors.RequestHeaders(interop.EchoInitial, interop.EchoTrailing),
				cors.ResponseHeaders(interop.EchoInitial), cors.Trailers(interop.EchoInitial, interop.EchoTrailing))
			allowed := serve(t, x, requests.count(calls))
			refusals := make(counted)
			refused := serve(t, x, refusals.count(cors.Handler(ours.NewHandler(), cors.Origins("https://app.example.com"))))
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/connectweb.html") })
			mux.Handle("GET /npm/", http.StripPrefix("/npm/", http.FileServer(http.Dir(modules))))
			mux.HandleFunc("GET /schema", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(schema(t)) })
			mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(map[string]string{"allowed": allowed, "refused": refused})
			})
			mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) { receive(w, r, page.reports) })
			mux.HandleFunc("POST /done", func(w http.ResponseWriter, r *http.Request) { receive(w, r, page.done) })

			failures, _ := page.run(t, chromium, url)
			cases := []string{"setup", "connect_get"}
			for _, name := range connectWebCases {
				cases = append(cases, "connect_"+name, "grpcweb_"+name)
			}
			for _, name := range cases {
				if failure, ok := failures[name]; !ok {
					t.Errorf("%s: the page did not report this case", name)
				} else if failure != "" {
					t.Errorf("%s: %s", name, failure)
				}
				delete(failures, name)
			}
			if len(failures) > 0 {
				t.Errorf("got %q beside the cases, want nothing", failures)
			}
			// Each protocol has headers of its own, and so a preflight request of its own.
			if got := requests.of("OPTIONS", interop.EmptyCall); got < 1 || got > 2 {
				t.Errorf("got %d preflight requests for many calls, want one for each protocol at most", got)
			}
			if got := requests.of("POST", interop.EmptyCall); got != 40 {
				t.Errorf("got %d calls, want 40", got)
			}
			if got := requests.of("GET", interop.CacheableUnaryCall); got != 1 {
				t.Errorf("got %d calls by GET, want 1", got)
			}
			if got := requests.of("POST", interop.CacheableUnaryCall); got != 0 {
				t.Errorf("got %d calls with a header that is not allowed, want none", got)
			}
			if options, calls := refusals.of("OPTIONS", interop.UnaryCall), refusals.of("POST", interop.UnaryCall); options != 2 || calls != 0 {
				t.Errorf("got %d preflight requests and %d calls for another origin's server, want 2 and none", options, calls)
			}
		})
	}
}

// installNPM installs the packages for the time of the test, and returns their folder. A registry that does not answer at once is
// asked again.
func installNPM(t *testing.T, npm string) string {
	t.Helper()
	dir := t.TempDir()
	install := func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		command := exec.CommandContext(ctx, npm, append([]string{
			"install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--prefix", dir,
		}, npmPackages...)...)
		command.Dir = dir
		command.WaitDelay = patience
		return command.CombinedOutput()
	}
	output, err := install()
	for attempt := 1; err != nil && attempt < 3; attempt++ {
		output, err = install()
	}
	if err != nil {
		t.Fatalf("npm install: %v\n%s", err, tail(string(output), 20))
	}
	return filepath.Join(dir, "node_modules")
}

// schema is a FileDescriptorSet of the test service, each file after those that it imports.
func schema(t *testing.T) []byte {
	set := new(descriptorpb.FileDescriptorSet)
	known := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if known[file.Path()] {
			return
		}
		known[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(testpb.File_grpc_testing_test_proto)
	// The published schema does not say what the cases are about: this procedure has no side effects.
	for _, service := range set.File[len(set.File)-1].GetService() {
		for _, method := range service.GetMethod() {
			if strings.HasSuffix(interop.CacheableUnaryCall, "/"+method.GetName()) {
				method.Options = &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}
			}
		}
	}
	data, err := proto.Marshal(set)
	if err != nil {
		t.Error(err)
	}
	return data
}

var countMutex sync.Mutex

// counted counts requests by their methods and paths.
type counted map[string]int

func (c counted) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countMutex.Lock()
		c[r.Method+" "+r.URL.Path]++
		countMutex.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (c counted) of(method, path string) int {
	countMutex.Lock()
	defer countMutex.Unlock()
	return c[method+" "+path]
}
