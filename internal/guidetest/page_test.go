// SPDX-License-Identifier: Apache-2.0

// This file reads the fenced blocks of a page and the marks before them.

package guidetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A block is a fenced block of a page. The mark, an HTML comment on the line
// before the fence, gives its purpose:
//
//	<!-- example: file NAME -->    the content of the file NAME
//	<!-- example: serve -->        a program or command that runs until the page ends
//	<!-- example: output -->       the output of the block before it
//	<!-- example: not run: KEY --> a block that the tests cannot run; see reasons
//
// A block of Go without a mark is a program that ends by itself if it begins
// with a package clause, and otherwise a fragment, which is compiled with the
// imports and variables that it needs. A shell block without a mark is run, a
// block of JSON decoded, and a block of protobuf looked up in the schema.
type block struct {
	page     string
	line     int // of the fence
	language string
	mark     string // "" or the text after "example: "
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// reasons are the keys of blocks that are not run.
var reasons = map[string]string{
	"installs":  "it takes the tool from the network; the tests of the README run its sibling with a module proxy in a folder",
	"proxy":     "it belongs into the configuration of a program that the tests do not install",
	"container": "it needs a container or an init system",
	"theirs":    "it is code for another library, shown to be replaced",
	"rules":     "its rules are those of a schema that the tests of package validate compile and call",
	"checkout":  "it runs for minutes in a checkout; make test does the same",
}

// languages are the fences that pages may use.
var languages = []string{"go", "sh", "json", "yaml", "protobuf", "text", "nginx", "haproxy", "ini", "diff"}

var markPattern = regexp.MustCompile(`^<!-- example: (.*) -->$`)

// parsePage returns the blocks of a page in their order. An unknown language,
// a mark without a block, a fence without an end and a block that is indented
// instead of fenced are errors, as each could hide a block from the tests.
func parsePage(page, text string) ([]block, error) {
	var blocks []block
	var open *block
	mark, marked := "", false
	for i, line := range strings.Split(text, "\n") {
		number := i + 1
		if open != nil {
			if line == "```" {
				blocks = append(blocks, *open)
				open = nil
				continue
			}
			open.text += line + "\n"
			continue
		}
		if language, ok := strings.CutPrefix(line, "```"); ok {
			if !slices.Contains(languages, language) {
				return nil, fmt.Errorf("%s:%d: a fence with the language %q, want one of %v", page, number, language, languages)
			}
			open = &block{page: page, line: number, language: language, mark: mark}
			mark, marked = "", false
			continue
		}
		if marked {
			return nil, fmt.Errorf("%s:%d: got %q after a mark, want a fence", page, number, line)
		}
		if match := markPattern.FindStringSubmatch(line); match != nil {
			mark, marked = match[1], true
			if err := checkMark(mark); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", page, number, err)
			}
			continue
		}
		if strings.Contains(line, "```") || strings.Contains(line, "<!-- example") || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t") {
			return nil, fmt.Errorf("%s:%d: got %q, want blocks fenced at the beginning of a line", page, number, line)
		}
	}
	if open != nil || marked {
		return nil, fmt.Errorf("%s: the last block has no end", page)
	}
	return blocks, nil
}

func checkMark(mark string) error {
	if key, ok := strings.CutPrefix(mark, "not run: "); ok {
		if reasons[key] == "" {
			return fmt.Errorf("the reason %q is not one of %v", key, reasons)
		}
		return nil
	}
	if name, ok := strings.CutPrefix(mark, "file "); ok && name != "" {
		return nil
	}
	if mark == "serve" || mark == "output" {
		return nil
	}
	return fmt.Errorf("the mark %q is unknown", mark)
}
