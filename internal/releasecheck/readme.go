// SPDX-License-Identifier: Apache-2.0

// The README's first example, with the commands that the page prints.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	readmeModule = "example.com/greet"
	readmeAddr   = "localhost:8080"
)

// readmePage has the parts of the page that a reader needs: the first example's files,
// its commands up to the client's output, and that output.
type readmePage struct {
	files          map[string]string
	commands       []string
	server, client string // the files with the programs
	output         string
}

var (
	// markPattern is the comment on the line before a block of the example:
	// the name of a file, or "output".
	markPattern = regexp.MustCompile(`^<!-- example: (?:file )?(\S+) -->$`)
	// commandPattern finds the commands that get and generate code; the rest
	// run the programs, which readmeSteps does itself.
	commandPattern = regexp.MustCompile(`^(go mod init|go mod tidy|go get|go install tool|buf generate|protoc) ?`)
)

// parseReadme reads a page up to the first block that is marked as output.
func parseReadme(page string) (readmePage, error) {
	r := readmePage{files: make(map[string]string)}
	mark, name, fenced := "", "", false
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced && name == "output" {
				return r, r.check()
			}
			if fenced = !fenced; fenced {
				name, mark = mark, ""
			}
		case fenced && name == "output":
			r.output += line + "\n"
		case fenced && strings.Contains(name, "."):
			r.files[name] += line + "\n"
			if strings.HasPrefix(line, "func main()") {
				if r.server == "" {
					r.server = name
				} else {
					r.client = name
				}
			}
		case fenced || strings.HasPrefix(line, "    "):
			command := strings.TrimSpace(line)
			for strings.HasSuffix(command, "\\") && i+1 < len(lines) {
				i++
				command = strings.TrimSuffix(command, "\\") + strings.TrimSpace(lines[i])
			}
			if commandPattern.MatchString(command) {
				r.commands = append(r.commands, command)
			}
		default:
			if found := markPattern.FindStringSubmatch(line); found != nil {
				mark = found[1]
			}
		}
	}
	return r, errors.New("README.md: no block is marked as output")
}

func (r *readmePage) check() error {
	all := strings.Join(r.commands, "\n")
	switch {
	case r.server == "" || r.client == "":
		return errors.New("README.md: want a server and a client before the output, each with func main")
	case !strings.Contains(all, "go get "+rootPath) || !strings.Contains(all, "go get -tool"):
		return fmt.Errorf("README.md: want commands that get the library and its generator, got\n%s", all)
	case !strings.Contains(all, "protoc ") && !strings.Contains(all, "buf generate"):
		return fmt.Errorf("README.md: want a command that generates code, got\n%s", all)
	}
	return nil
}

// readmeSteps follows the page, with another port, and compares the output of the
// client. "go get" without a version means the newest, which is the one that was
// published.
func readmeSteps(ctx context.Context, u *user, dir string) error {
	text, err := os.ReadFile(filepath.Join(u.tree, "README.md"))
	if err != nil {
		return err
	}
	page, err := parseReadme(string(text))
	if err != nil {
		return err
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	for name, text := range page.files {
		page.files[name] = strings.ReplaceAll(text, readmeAddr, addr)
	}
	if err := u.write(dir, page.files); err != nil {
		return err
	}
	if !strings.HasPrefix(page.commands[0], "go mod init") {
		page.commands = append([]string{"go mod init " + readmeModule}, page.commands...)
	}
	for _, command := range page.commands {
		words := strings.Fields(command)
		if words[0] == "protoc" || words[0] == "buf" {
			if err := u.generate(ctx, dir, words); err != nil {
				return err
			}
			continue
		}
		if _, err := u.run(ctx, dir, words[0], words[1:]...); err != nil {
			return err
		}
	}
	if err := u.released(ctx, dir, rootPath); err != nil {
		return err
	}
	server, client := filepath.Join(dir, "server.exe"), filepath.Join(dir, "client.exe")
	for program, file := range map[string]string{server: page.server, client: page.client} {
		if err := u.goes(ctx, dir, "build -o "+program+" ./"+file); err != nil {
			return err
		}
	}
	return u.serve(ctx, dir, server, addr, func() error {
		got, err := u.run(ctx, dir, client)
		if err == nil && got != page.output {
			return fmt.Errorf("the client printed %q, want %q", got, page.output)
		}
		return err
	})
}

// generate runs protoc or buf, with the generators of the module's tool
// directives on the PATH. If buf is not installed, it runs the one that
// internal/buftest pins.
func (u *user) generate(ctx context.Context, dir string, words []string) error {
	if err := u.goes(ctx, dir, "install tool"); err != nil {
		return err
	}
	program, err := exec.LookPath(words[0])
	if err != nil && words[0] == "buf" {
		find := exec.CommandContext(ctx, "go", "tool", "-n", "buf")
		find.Dir = filepath.Join(u.tree, "internal", "buftest")
		var output []byte
		output, err = find.Output()
		program = strings.TrimSpace(string(output))
	}
	if err != nil {
		return fmt.Errorf("the README's steps need %s: %w", words[0], err)
	}
	_, err = u.run(ctx, dir, program, words[1:]...)
	return err
}

// serve runs f while a server runs.
func (u *user) serve(ctx context.Context, dir, program, addr string, f func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := u.command(ctx, dir, program)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the server ended before it listened: %w", err)
		case <-ctx.Done():
			<-ended
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	err := f()
	cancel()
	<-ended
	return err
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
