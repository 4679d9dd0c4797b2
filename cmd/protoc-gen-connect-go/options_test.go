// SPDX-License-Identifier: Apache-2.0

// Options: the values that they accept, and the settings that follow.

package main

import "testing"

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        options
	}{
		{"package_suffix", "rpc", options{packageSuffix: "rpc", runtimePackage: defaultRuntime}},
		{"package_suffix", "", options{runtimePackage: defaultRuntime}},
		{"simple", "", options{packageSuffix: "connect", simple: true, runtimePackage: defaultRuntime}},
		{"simple", "true", options{packageSuffix: "connect", simple: true, runtimePackage: defaultRuntime}},
		{"simple", "false", options{packageSuffix: "connect", runtimePackage: defaultRuntime}},
		{"iterators", "", options{packageSuffix: "connect", iterators: true, runtimePackage: defaultRuntime}},
		{"register", "", options{packageSuffix: "connect", register: true, runtimePackage: defaultRuntime}},
		{"fakes", "true", options{packageSuffix: "connect", fakes: true, runtimePackage: defaultRuntime}},
		{"runtime_package", "connectrpc.com/connect", options{packageSuffix: "connect", runtimePackage: "connectrpc.com/connect"}},
	} {
		got := defaultOptions()
		if err := got.set(test.name, test.value); err != nil || got != test.want {
			t.Errorf("%s=%s: got %+v, %v, want %+v", test.name, test.value, got, err, test.want)
		}
	}
	for _, test := range []struct{ name, value string }{
		{"package_suffix", "a.b"},
		{"package_suffix", "1"},
		{"package_suffix", "type"},
		{"simple", "1"},
		{"iterators", "1"},
		{"register", "yes"},
		{"fakes", "on"},
		{"runtime_package", ""},
		{"Simple", ""},
		{"", ""},
	} {
		got := defaultOptions()
		if err := got.set(test.name, test.value); err == nil || got != defaultOptions() {
			t.Errorf("%s=%s: got %+v, %v, want an error and no change", test.name, test.value, got, err)
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	if err := (&options{iterators: true}).check(); err == nil || err.Error() != "reading option iterators: it needs the option simple: add simple" {
		t.Errorf("got %v, want an error", err)
	}
	for _, o := range []options{{}, {simple: true}, {iterators: true, simple: true}, {register: true, fakes: true}} {
		if err := o.check(); err != nil {
			t.Errorf("%+v: got %v, want no error", o, err)
		}
	}
}

func TestImportable(t *testing.T) {
	for path, want := range map[string]bool{
		"connect":                          true,
		"connectrpc.com/connect":           true,
		"example.com/a-b/c_d/v2":           true,
		"example.com/~user/x+y":            true,
		"example.com/größe":                true,
		"":                                 false,
		"/rooted":                          false,
		"trailing/":                        false,
		"a//b":                             false,
		"./a":                              false,
		"a/../b":                           false,
		"a b":                              false,
		"a\nb":                             false,
		"a\"b":                             false,
		"a`b":                              false,
		`a\b`:                              false,
		"a:b":                              false,
		"a;b":                              false,
		"a\uFFFDb":                         false,
		"a\xffb":                           false,
		"a\u200bb":                         false,
		"github.com/seed-b7c59c10/connect": true,
	} {
		if got := importable(path); got != want {
			t.Errorf("%q: got %t, want %t", path, got, want)
		}
	}
}
