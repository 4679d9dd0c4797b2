// SPDX-License-Identifier: Apache-2.0

// This file calls services through grpcui, a page in the browser that knows a server by reflection alone.

package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGRPCUI starts grpcui, which the module internal/tools pins, and makes the requests of its page.
func TestGRPCUI(t *testing.T) {
	program := filepath.Join(t.TempDir(), "grpcui")
	build := exec.Command("go", "build", "-o", program, "github.com/fullstorydev/grpcui/cmd/grpcui")
	build.Dir = filepath.Join("..", "tools")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building grpcui: %v\n%s", err, output)
	}
	for _, x := range []transport{h2c, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			page := openGRPCUI(ctx, t, program, x)
			services := page.do(ctx, http.MethodGet, "", nil)
			for _, want := range []string{"grpc.health.v1.Health", "grpc.testing.TestService"} {
				if !strings.Contains(services, want) {
					t.Errorf("the page has no service %s:\n%s", want, services)
				}
			}
			if got := page.do(ctx, http.MethodGet, "metadata?method=grpc.testing.TestService.UnaryCall", nil); !strings.Contains(got, "grpc.testing.Payload") {
				t.Errorf("description of a method: got %s, want the type of a field", got)
			}
			for method, c := range map[string]struct{ data, want string }{
				"grpc.testing.TestService.UnaryCall":           {`{"responseSize":3,"payload":{"body":"AAAA"}}`, `"body":"AAAA"`},
				"grpc.testing.TestService.StreamingOutputCall": {`{"responseParameters":[{"size":1},{"size":2}]}`, `"body":"AAA="`},
				"grpc.health.v1.Health.Check":                  {`{"service":"acme.v1.Missing"}`, `"name":"NotFound"`},
			} {
				got := page.do(ctx, http.MethodPost, "invoke/"+method, []byte(`{"metadata":[],"data":[`+c.data+`]}`))
				var compact bytes.Buffer
				if err := json.Compact(&compact, []byte(got)); err != nil || !strings.Contains(compact.String(), c.want) {
					t.Errorf("%s: got %s, want %s", method, got, c.want)
				}
			}
		})
	}
}

// grpcUI is a running grpcui.
type grpcUI struct {
	t      *testing.T
	url    string
	client *http.Client
	token  string // against requests of other pages
}

// openGRPCUI starts grpcui for a server of its own, and gets the page. Both end with ctx.
func openGRPCUI(ctx context.Context, t *testing.T, program string, x transport) *grpcUI {
	args := []string{"-plaintext"}
	if x.secure() {
		args = []string{"-cacert", authorityFile(t)}
	}
	address := hostPort(t, serveDescribed(t, x, true))
	command := exec.CommandContext(ctx, program, append(args, "-bind", "127.0.0.1", "-port", "0", "-open-browser=false", address)...)
	var errors bytes.Buffer
	command.Stderr = &errors
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		_, url, found := strings.Cut(lines.Text(), "available at ")
		if !found {
			continue
		}
		jar, _ := cookiejar.New(nil) // returns no error
		page := &grpcUI{t: t, url: url, client: &http.Client{Jar: jar}}
		page.do(ctx, http.MethodGet, "", nil)
		return page
	}
	_ = command.Wait()
	t.Fatalf("grpcui ended: %s", errors.String())
	return nil
}

// do makes a request and returns the body of the answer.
func (p *grpcUI) do(ctx context.Context, method, path string, body []byte) string {
	p.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("X-Grpcui-Csrf-Token", p.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	for _, cookie := range response.Cookies() {
		if cookie.Name == "_grpcui_csrf_token" {
			p.token = cookie.Value
		}
	}
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %q: got %s, %v and %s", method, path, response.Status, err, data)
	}
	return string(data)
}
