// SPDX-License-Identifier: Apache-2.0

// Options and flags of the plugin.

package gentest

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
)

const goPath = "github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"

// TestFileNames checks where each combination of options puts the code.
func TestFileNames(t *testing.T) {
	for _, test := range []struct {
		options     string
		wantFile    string
		wantPackage string
	}{
		{"", goPath + "/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{"paths=import", goPath + "/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{"paths=source_relative", "kinds/v1/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{module, "kinds/v1/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{"paths=source_relative,package_suffix=rpc", "kinds/v1/kindsv1rpc/kinds.connect.go", "kindsv1rpc"},
		{"paths=source_relative,package_suffix=", "kinds/v1/kinds.connect.go", "kindsv1"},
		{"paths=source_relative,package_suffix", "kinds/v1/kinds.connect.go", "kindsv1"},
		{"Mkinds/v1/kinds.proto=example.com/a/b;c", "example.com/a/b/cconnect/kinds.connect.go", "cconnect"},
		{"Mkinds/v1/kinds.proto=example.com/a/b", "example.com/a/b/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{"paths=source_relative,default_api_level=API_OPAQUE", "kinds/v1/kindsv1connect/kinds.connect.go", "kindsv1connect"},
		{"paths=source_relative,apilevelMkinds/v1/kinds.proto=API_HYBRID", "kinds/v1/kindsv1connect/kinds.connect.go", "kindsv1connect"},
	} {
		t.Run(test.options, func(t *testing.T) {
			file, content := generateKinds(t, test.options)
			if file != test.wantFile {
				t.Errorf("file: got %q, want %q", file, test.wantFile)
			}
			if want := "\npackage " + test.wantPackage + "\n"; !strings.Contains(content, want) {
				t.Errorf("package clause: got none of %q", want)
			}
		})
	}
}

// TestContentOptions checks the options that change the code itself.
func TestContentOptions(t *testing.T) {
	const (
		wrapped  = "Double(ctx context.Context, req *connect.Request[kindsv1.Number]) (*connect.Response[kindsv1.Number], error)"
		plain    = "Double(ctx context.Context, req *kindsv1.Number) (*kindsv1.Number, error)"
		ours     = `connect "github.com/seed-b7c59c10/connect"`
		answered = "connect.NewServiceHandler([]*connect.Handler{"
		notFound = "http.NotFoundHandler()"
	)
	for _, test := range []struct {
		options string
		want    []string
		not     []string
	}{
		{"", []string{wrapped, ours, answered}, []string{plain, notFound}},
		{"simple", []string{plain, ours, answered}, []string{wrapped}},
		{"simple=", []string{plain}, []string{wrapped}},
		{"simple=true", []string{plain}, []string{wrapped}},
		{"simple=false", []string{wrapped}, []string{plain}},
		{"runtime_package=github.com/seed-b7c59c10/connect", []string{ours, answered}, []string{notFound}},
		{
			"runtime_package=connectrpc.com/connect",
			[]string{`connect "connectrpc.com/connect"`, notFound},
			[]string{ours, "NewUnknownProcedureHandler", "NewServiceHandler"},
		},
		{
			"runtime_package=example.com/fork/v2",
			[]string{`connect "example.com/fork/v2"`, notFound},
			[]string{ours, "NewUnknownProcedureHandler", "NewServiceHandler"},
		},
		{"", []string{"const _ = connect.IsAtLeastVersion1_13_0"}, nil},
	} {
		t.Run(test.options, func(t *testing.T) {
			_, content := generateKinds(t, test.options)
			for _, text := range test.want {
				if !strings.Contains(content, text) {
					t.Errorf("code: got none of %q", text)
				}
			}
			for _, text := range test.not {
				if strings.Contains(content, text) {
					t.Errorf("code: got %q, want none of it", text)
				}
			}
		})
	}
}

// TestAnnotateCode checks that the option of protogen which maps generated names to the schema finds its symbols.
func TestAnnotateCode(t *testing.T) {
	request := compile(t, "kinds/v1/kinds.proto")
	request.Parameter = proto.String("paths=source_relative,annotate_code")
	response := runPlugin(t, connectPlugin, request)
	if len(response.File) != 2 {
		t.Fatalf("got %d files, want the code and its map", len(response.File))
	}
	if got, want := response.File[1].GetName(), "kinds/v1/kindsv1connect/kinds.connect.go.meta"; got != want {
		t.Errorf("map: got %q, want %q", got, want)
	}
	if response.File[1].GetContent() == "" {
		t.Error("map: got nothing in it")
	}
}

// TestBadOptions checks that a wrong option ends the run with a message that names the option and the values that it takes.
func TestBadOptions(t *testing.T) {
	for _, test := range []struct {
		options string
		want    []string
	}{
		{"package_suffix=a-b", []string{"package_suffix", `"a-b"`, "Go identifier"}},
		{"package_suffix=func", []string{"package_suffix", `"func"`, "Go identifier"}},
		{"package_suffix=../up", []string{"package_suffix", `"../up"`, "Go identifier"}},
		{"simple=yes", []string{"simple", `"yes"`, `"true"`}},
		{"runtime_package=", []string{"runtime_package", `""`, "import path"}},
		{"runtime_package", []string{"runtime_package", `""`, "import path"}},
		{"runtime_package=a b", []string{"runtime_package", `"a b"`, "import path"}},
		{`runtime_package=a"b`, []string{"runtime_package", "import path"}},
		{"runtime_package=/a", []string{"runtime_package", `"/a"`, "import path"}},
		{"runtime_package=./a", []string{"runtime_package", `"./a"`, "import path"}},
		{"runtime_package=a//b", []string{"runtime_package", `"a//b"`, "import path"}},
		{"packages_suffix=x", []string{`"packages_suffix"`, "unknown", "package_suffix", "simple", "runtime_package"}},
		{"paths=elsewhere", []string{"elsewhere"}},
	} {
		t.Run(test.options, func(t *testing.T) {
			// A schema without services: options are checked all the same.
			request := compile(t, "noservice/noservice.proto")
			request.Parameter = proto.String(test.options)
			_, stderr, err := startPlugin(t, connectPlugin, request)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, text := range test.want {
				if !strings.Contains(string(stderr), text) {
					t.Errorf("message: got %q, want it to contain %q", stderr, text)
				}
			}
			if bytes.Contains(stderr, []byte("panic")) {
				t.Errorf("message: got a panic: %s", stderr)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args       []string
		wantStatus int
		wantStdout string
		wantStderr string
	}{
		{[]string{"--version"}, 0, connect.ModuleVersion + "\n", ""},
		{[]string{"-h"}, 0, "runtime_package=PATH", ""},
		{[]string{"--help"}, 0, "runtime_package=PATH", ""},
		{[]string{"--nonsense"}, 2, "", `got ["--nonsense"], want no argument or one flag`},
		{[]string{"--version", "--help"}, 2, "", "want no argument or one flag"},
		{[]string{"ping.proto"}, 2, "", "want no argument or one flag"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			command := exec.Command(filepath.Join(programs, connectPlugin), test.args...)
			command.Stdout, command.Stderr = &stdout, &stderr
			err := command.Run()
			if got := command.ProcessState.ExitCode(); got != test.wantStatus {
				t.Errorf("status: got %d (%v), want %d", got, err, test.wantStatus)
			}
			if test.args[0] == "--version" && len(test.args) == 1 && stdout.String() != test.wantStdout {
				t.Errorf("standard output: got %q, want %q", stdout.String(), test.wantStdout)
			}
			checkOutput(t, "standard output", stdout.String(), test.wantStdout)
			checkOutput(t, "standard error", stderr.String(), test.wantStderr)
		})
	}
}

// checkOutput checks that a stream contains a text, and that it is empty if the text is.
func checkOutput(t *testing.T, stream, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) || want == "" && got != "" {
		t.Errorf("%s: got %q, want %q in it", stream, got, want)
	}
}

// generateKinds runs the plugin for kinds.proto and returns the one file that it generates.
func generateKinds(t *testing.T, options string) (name, content string) {
	t.Helper()
	request := compile(t, "kinds/v1/kinds.proto")
	request.Parameter = proto.String(options)
	response := runPlugin(t, connectPlugin, request)
	if len(response.File) != 1 {
		t.Fatalf("got %d files, want 1", len(response.File))
	}
	return response.File[0].GetName(), response.File[0].GetContent()
}
