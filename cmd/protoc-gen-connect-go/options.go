// SPDX-License-Identifier: Apache-2.0

// The plugin's own options, as they stand in protoc's --connect-go_opt or in buf.gen.yaml.

package main

import (
	"errors"
	"fmt"
	"go/token"
	"strings"
	"unicode"
)

const defaultRuntime = "github.com/seed-b7c59c10/connect"

type options struct {
	packageSuffix  string // empty: the code shares the package of the messages
	simple         bool
	iterators      bool // streams are iterators; needs simple
	register       bool
	fakes          bool
	runtimePackage string
}

func defaultOptions() options {
	return options{packageSuffix: "connect", runtimePackage: defaultRuntime}
}

// set sets one option. protogen handles its own options before.
func (o *options) set(name, value string) error {
	switch name {
	case "package_suffix":
		if value != "" && !token.IsIdentifier(value) {
			return fmt.Errorf("reading option package_suffix: got %q, want a Go identifier, or nothing", value)
		}
		o.packageSuffix = value
	case "simple":
		return setBool(&o.simple, name, value)
	case "iterators":
		return setBool(&o.iterators, name, value)
	case "register":
		return setBool(&o.register, name, value)
	case "fakes":
		return setBool(&o.fakes, name, value)
	case "runtime_package":
		if !importable(value) {
			return fmt.Errorf("reading option runtime_package: got %q, want a Go import path like %q", value, defaultRuntime)
		}
		o.runtimePackage = value
	default:
		return fmt.Errorf("reading option %q: unknown, want package_suffix, simple, iterators, register, fakes, runtime_package "+
			"or an option of protoc-gen-go", name)
	}
	return nil
}

// setBool sets an option that is on or off.
func setBool(o *bool, name, value string) error {
	if value != "" && value != "true" && value != "false" {
		return fmt.Errorf(`reading option %s: got %q, want "true", "false" or no value, which means true`, name, value)
	}
	*o = value != "false"
	return nil
}

// check returns an error for options that exclude each other. The options can come in any order.
func (o *options) check() error {
	if o.iterators && !o.simple {
		return errors.New("reading option iterators: it needs the option simple: add simple")
	}
	return nil
}

// importable reports whether path is valid in an import declaration. A path is neither rooted nor relative, and has
// none of the characters that a compiler may exclude by the Go specification, "Import declarations".
func importable(path string) bool {
	for element := range strings.SplitSeq(path, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(path, func(char rune) bool {
		return !unicode.IsGraphic(char) || unicode.IsSpace(char) || strings.ContainsRune("!\"#$%&'()*,:;<=>?[\\]^`{|}\uFFFD", char)
	})
}
