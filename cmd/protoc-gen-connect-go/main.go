// SPDX-License-Identifier: Apache-2.0

// Protoc-gen-connect-go is a plugin for Protobuf compilers: it writes the typed Go clients and handlers of a schema's
// services. The messages come from protoc-gen-go, which runs next to it.
//
// With buf and a tool directive in go.mod nothing needs to be installed:
//
//	version: v2
//	plugins:
//	  - local: [go, tool, protoc-gen-go]
//	    out: gen
//	    opt: paths=source_relative
//	  - local: [go, tool, protoc-gen-connect-go]
//	    out: gen
//	    opt: paths=source_relative
//
// With protoc, the programs on PATH, and a folder gen that exists:
//
//	protoc --go_out=gen --connect-go_out=gen ping/v1/ping.proto
//
// A schema ping/v1/ping.proto of the Go package pingv1 becomes ping/v1/pingv1connect/ping.connect.go. A schema without
// services becomes nothing.
//
// # Options
//
// Besides the options of protoc-gen-go (paths, module, M, default_api_level, annotate_code and so on):
//
//   - package_suffix=NAME: the code goes into a package of its own, in a folder below the messages, named after their
//     package with NAME appended. Default: connect. Empty: next to the messages, in their package.
//   - simple: methods take and return messages instead of connect.Request and connect.Response; headers travel in the
//     context. Default: false.
//   - iterators: with simple, streams are iterators: methods take and return an iter.Seq2 of messages and errors. Only
//     a client's stream in both directions stays a connect.BidiStreamForClientSimple. Default: false.
//   - register: adds a function Register… for each service, which mounts it on any router that has a method
//     Handle(pattern, handler), with one pattern per procedure. Default: false.
//   - fakes: adds types Fake…Client and Fake…Handler for each service, whose methods call functions that a test sets.
//     Default: false.
//   - runtime_package=PATH: the import path of the library that the code calls, which must have the API of
//     connectrpc.com/connect v1.13.0 or newer, and with simple that of v1.19.0. Default:
//     github.com/seed-b7c59c10/connect. With any other path, an unknown procedure is answered with a plain 404 and not
//     in the caller's protocol.
//
// # Names
//
// The names in the code are those of connect-go's plugin. Where two of them clash, also between files of one Go package
// or with what protoc-gen-go declares, the later one gets an underscore; those that options add are the last of their
// file. A run sees the files that it generates and their imports: generate the files of a Go package in one run, as buf
// does for the files of a folder.
package main

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/seed-b7c59c10/connect"
)

const pluginName = "protoc-gen-connect-go"

const usage = `protoc-gen-connect-go writes Go clients and handlers for the services of a Protobuf schema.
It is run by protoc or buf, which hand it the schema on the standard input.

Flags:
  -h, --help    print this text
  --version     print the version

Options, besides those of protoc-gen-go:
  package_suffix=NAME   suffix of the package for the code; empty: the package of the messages (default "connect")
  simple                methods take and return plain messages
  iterators             with simple: streams are iterators
  register              a function for each service that mounts it on a router, one pattern per procedure
  fakes                 types for tests whose methods call functions that the test sets
  runtime_package=PATH  import path of the library that the code calls (default "` + defaultRuntime + `")
`

func main() {
	if len(os.Args) > 1 {
		os.Exit(answer(os.Args[1:], os.Stdout, os.Stderr))
	}
	options := defaultOptions()
	protogen.Options{ParamFunc: options.set}.Run(func(plugin *protogen.Plugin) error {
		if err := options.check(); err != nil {
			return err
		}
		generate(plugin, options)
		return nil
	})
}

// answer serves a person who runs the program by hand, and returns the exit status.
func answer(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 {
		switch args[0] {
		case "--version":
			fmt.Fprintln(stdout, connect.ModuleVersion)
			return 0
		case "-h", "--help":
			fmt.Fprint(stdout, usage)
			return 0
		}
	}
	fmt.Fprintf(stderr, "%s: reading the command line: got %q, want no argument or one flag\n\n%s", pluginName, args, usage)
	return 2
}

// generate adds one file of code to the plugin's answer for each requested schema that has services.
func generate(plugin *protogen.Plugin, options options) {
	plugin.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL |
		pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	plugin.SupportedEditionsMinimum = descriptorpb.Edition_EDITION_PROTO2
	plugin.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_2024
	packages := packageNames(plugin)
	for _, schema := range plugin.Files {
		if schema.Generate && len(schema.Services) > 0 {
			newFile(schema, options, plugin.Files, packages).generate(plugin)
		}
	}
}
