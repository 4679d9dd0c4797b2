// SPDX-License-Identifier: Apache-2.0

package guidetest

import (
	"strings"
	"testing"
)

const goodPage = "# Page\n\nWords.\n\n<!-- example: file a.go -->\n```go\npackage a\n```\n\n```sh\necho a\n```\n\n" +
	"<!-- example: output -->\n```text\na\n```\n\n<!-- example: not run: proxy -->\n```nginx\nserver {}\n```\n"

func TestParsePage(t *testing.T) {
	blocks, err := parsePage("page.md", goodPage)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range blocks {
		got = append(got, b.language+"|"+b.mark+"|"+b.text)
	}
	want := "go|file a.go|package a\n,sh||echo a\n,text|output|a\n,nginx|not run: proxy|server {}\n"
	if got := strings.Join(got, ","); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestParsePageFails checks that parsePage returns an error for a page that could hide a block.
func TestParsePageFails(t *testing.T) {
	for want, page := range map[string]string{
		"language":      goodPage + "```python\n```\n",
		"after a mark":  strings.ReplaceAll(goodPage, "-->\n```go", "-->\n\n```go"),
		"no end":        goodPage + "```go\n",
		"unknown":       goodPage + "<!-- example: run -->\n```go\n```\n",
		"the reason":    goodPage + "<!-- example: not run: laziness -->\n```go\n```\n",
		"want blocks":   goodPage + "\n    indented()\n",
		"the beginning": goodPage + "- a list\n  ```go\n  ```\n",
	} {
		if _, err := parsePage("page.md", page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestProgramsAndFragments(t *testing.T) {
	program := block{page: "p.md", language: "go", text: "package main\n\nfunc main() {}\n"}
	if text, err := program.program("p_1"); err != nil || !strings.Contains(text, "package p_1") || !strings.Contains(text, "func Main()") {
		t.Errorf("got %q, %v", text, err)
	}
	for _, bad := range []string{"package other\n\nfunc main() {}\n", "package main\n", "package main\n\nfunc main() {\n"} {
		if text, err := (block{page: "p.md", text: bad}).program("p_1"); err == nil {
			t.Errorf("%q: got %q, want an error", bad, text)
		}
	}
	for text, want := range map[string]string{
		"func f(r *http.Request) {}\n":   "\"net/http\"",
		"x := connect.WithGRPC()\n":      "_ = x",
		"return nil, connect.NewError()": "func _() (*greetv1.GreetResponse, error)",
	} {
		if got, err := (block{page: "p.md", text: text}).fragment("p_1"); err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, %v, want it to contain %q", text, got, err, want)
		}
	}
	if got, err := (block{page: "p.md", text: "x := := 1"}).fragment("p_1"); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}

func TestSameOutput(t *testing.T) {
	for _, c := range []struct {
		language, got, want string
		same                bool
	}{
		{"text", "a\n", "a", true},
		{"text", "a b", "a  b", false},
		{"json", `{"a": 1}`, `{"a":1}`, true},
		{"json", `{"a": 1}`, `{"a":2}`, false},
		{"json", `x`, `x`, false},
	} {
		if same := sameOutput(c.language, c.got, c.want); same != c.same {
			t.Errorf("%+v: got %v", c, same)
		}
	}
}
