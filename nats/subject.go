// SPDX-License-Identifier: Apache-2.0

// Procedures and subjects: /acme.v1.S/Do is <prefix>.acme.v1.S.Do. [PROTOCOL.md, section 1]

package natsrpc

import (
	"fmt"
	"strings"
)

// isWord reports whether s has letters, digits, _ and the characters of more alone, and is
// not empty.
func isWord(s, more string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', strings.IndexByte(more, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// checkName checks a dotted name: words between single dots. What the name is of, such as a
// prefix, is in the error. Blanks and the wildcards * and > are not in words.
func checkName(what, name, more string) error {
	for word := range strings.SplitSeq(name, ".") {
		if !isWord(word, more) {
			return fmt.Errorf("invalid %s %q: want letters, digits and _%s in words between single dots", what, name, more)
		}
	}
	if len(name) > maxName {
		return fmt.Errorf("invalid %s of %d bytes: want at most %d", what, len(name), maxName)
	}
	return nil
}

// maxName is the most bytes of a dotted name. A NATS server takes control lines of 4096
// bytes by default, in which two subjects have to fit.
const maxName = 512

// subjectOf returns the subject of a procedure.
func subjectOf(prefix, path string) (string, error) {
	if err := checkName("subject prefix", prefix, "-"); err != nil {
		return "", err
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || path[0] != '/' || !isWord(method, "") || checkName("service", service, "") != nil || len(path) > maxName {
		return "", fmt.Errorf("invalid path %q: want /package.Service/Method, with letters, digits, _ and dots, and at most %d bytes", path, maxName)
	}
	return prefix + "." + service + "." + method, nil
}

// pathOf is the inverse of subjectOf.
func pathOf(prefix, subject string) (string, error) {
	name, ok := strings.CutPrefix(subject, prefix+".")
	i := strings.LastIndexByte(name, '.')
	if !ok || i < 0 {
		return "", fmt.Errorf("invalid subject %q: want %s.package.Service.Method", subject, prefix)
	}
	path := "/" + name[:i] + "/" + name[i+1:]
	if _, err := subjectOf(prefix, path); err != nil {
		return "", fmt.Errorf("invalid subject %q: %w", subject, err)
	}
	return path, nil
}
