// SPDX-License-Identifier: Apache-2.0

// The steps of a user of the released modules, each in an empty directory.

package main

import (
	"context"
	"embed"
	"fmt"
	"path"
	"strings"
)

// programs holds a program for each step but README, whose program is on the
// page. They have no go.mod file: the steps make one, as users do.
//
//go:embed testdata
var programs embed.FS

// A step runs in a directory that does not exist yet.
type step struct {
	name string
	run  func(ctx context.Context, u *user, dir string) error
}

var steps = []step{
	{"packages", allPackages},
	{"README", readmeSteps},
	{"compress", compressStep},
	{"cors", corsStep},
	{"grpcadapter", grpcAdapterStep},
	{"nats", natsStep},
	{"overload", overloadStep},
	{"validate", validateStep},
	{"auth", authStep},
	{"consul", consulStep},
	{"telemetry", telemetryStep},
	{"dropin", dropinStep},
	{"install", installStep},
}

// allPackages builds all packages of each public module, as a module that
// others require: its replace directives do not count then. The drop-in has its
// own step: under its own name it cannot be required.
func allPackages(ctx context.Context, u *user, dir string) error {
	if err := u.write(dir, map[string]string{"tools.go": "package user\n"}); err != nil {
		return err
	}
	if err := u.goes(ctx, dir, "mod init example.com/user"); err != nil {
		return err
	}
	for _, m := range public {
		if m.name != "" {
			continue
		}
		if err := u.goes(ctx, dir, "get "+m.path+"/...@"+u.version, "build "+m.path+"/..."); err != nil {
			return err
		}
		if err := u.released(ctx, dir, m.path); err != nil {
			return err
		}
	}
	return nil
}

func compressStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "compress", "zstd\n", []string{rootPath, rootPath + "/compress"},
		"mod init example.com/user",
		"get "+rootPath+"/compress/zstd@"+u.version,
		"mod tidy")
}

func corsStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "cors", "https://app.example.com\n", []string{rootPath, rootPath + "/cors"},
		"mod init example.com/user",
		"get "+rootPath+"/cors@"+u.version,
		"mod tidy")
}

func grpcAdapterStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "grpcadapter", "SERVING\n", []string{rootPath, rootPath + "/grpcadapter"},
		"mod init example.com/user",
		"get "+rootPath+"/grpcadapter@"+u.version,
		"mod tidy")
}

func natsStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "nats", "unavailable\n", []string{rootPath, rootPath + "/nats"},
		"mod init example.com/user",
		"get "+rootPath+"/nats@"+u.version,
		"mod tidy")
}

func overloadStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "overload", "429\n", []string{rootPath, rootPath + "/overload"},
		"mod init example.com/user",
		"get "+rootPath+"/overload@"+u.version,
		"mod tidy")
}

func validateStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "validate", "internal\n", []string{rootPath, rootPath + "/validate"},
		"mod init example.com/user",
		"get "+rootPath+"/validate@"+u.version,
		"mod tidy")
}

func authStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "auth", "ada\n", []string{rootPath, rootPath + "/auth/jwt"},
		"mod init example.com/user",
		"get "+rootPath+"/auth/jwt@"+u.version,
		"mod tidy")
}

func consulStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "consul", "web\n", []string{rootPath, rootPath + "/consul"},
		"mod init example.com/user",
		"get "+rootPath+"/consul@"+u.version,
		"mod tidy")
}

func telemetryStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "telemetry", "unavailable\n", []string{rootPath, rootPath + "/telemetry"},
		"mod init example.com/user",
		"get "+rootPath+"/telemetry@"+u.version,
		"mod tidy")
}

func dropinStep(ctx context.Context, u *user, dir string) error {
	return u.program(ctx, dir, "dropin", strings.TrimPrefix(u.version, "v")+"\n", []string{rootPath, "connectrpc.com/connect"},
		"mod init example.com/user",
		"mod edit -require=connectrpc.com/connect@v1.21.1",
		"mod edit -replace=connectrpc.com/connect="+rootPath+"/dropin@"+u.version,
		"mod tidy",
		"build connectrpc.com/connect")
}

// installStep installs the generator outside of any module, which the go
// command refuses for a module with replace directives.
func installStep(ctx context.Context, u *user, dir string) error {
	if err := u.write(dir, map[string]string{"empty": ""}); err != nil {
		return err
	}
	if err := u.goes(ctx, dir, "install "+rootPath+"/cmd/protoc-gen-connect-go@"+u.version); err != nil {
		return err
	}
	got, err := u.run(ctx, dir, "protoc-gen-connect-go", "--version")
	if want := strings.TrimPrefix(u.version, "v") + "\n"; err == nil && got != want {
		return fmt.Errorf("protoc-gen-connect-go --version: got %q, want %q", got, want)
	}
	return err
}

// program writes a program of testdata, runs go commands around it, checks
// that the modules are the released ones, runs it and compares its output.
func (u *user) program(ctx context.Context, dir, name, want string, modules []string, commands ...string) error {
	text, err := programs.ReadFile(path.Join("testdata", name+".go.txt"))
	if err != nil {
		return err
	}
	if err := u.write(dir, map[string]string{"main.go": string(text)}); err != nil {
		return err
	}
	if err := u.goes(ctx, dir, commands...); err != nil {
		return err
	}
	if err := u.released(ctx, dir, modules...); err != nil {
		return err
	}
	got, err := u.run(ctx, dir, "go", "run", ".")
	if err == nil && got != want {
		return fmt.Errorf("the program printed %q, want %q", got, want)
	}
	return err
}
