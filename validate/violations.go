// SPDX-License-Identifier: Apache-2.0

// Violations as text and as an error's detail, both bounded.

package validate

import (
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
)

const (
	maxViolations = 100      // in a detail
	maxDetail     = 64 << 10 // bytes of a detail
	maxNamed      = 10       // violations in a text
	maxText       = 1 << 10  // bytes of the violations in a text
)

// Violations returns the violations in an error's details, also in that of a call to a
// server that uses connectrpc.com/validate or another implementation of Protovalidate.
// It returns nil if there are none.
func Violations(err error) []*validate.Violation {
	found, ok := connect.DetailOf[*validate.Violations](err)
	if !ok {
		return nil
	}
	return found.GetViolations()
}

// bounded returns the first violations, as many as fit into a detail.
func bounded(found *protovalidate.ValidationError) *validate.Violations {
	detail := new(validate.Violations)
	size := 0
	for _, v := range found.Violations {
		if size += proto.Size(v.Proto) + 4; size > maxDetail || len(detail.Violations) == maxViolations {
			break
		}
		detail.Violations = append(detail.Violations, v.Proto)
	}
	return detail
}

// describe returns the text for a message that breaks rules, in one line:
//
//	validating request greet.v1.GreetRequest: name: must be at most 10 characters; age: must be positive
func describe(direction, name string, found *protovalidate.ValidationError) string {
	var b strings.Builder
	for n, v := range found.Violations {
		if n > 0 {
			b.WriteString("; ")
		}
		if n == maxNamed {
			fmt.Fprintf(&b, "and %d more", len(found.Violations)-n)
			break
		}
		if path := protovalidate.FieldPathString(v.Proto.GetField()); path != "" {
			b.WriteString(path + ": ")
		}
		if text := v.Proto.GetMessage(); text != "" {
			b.WriteString(text)
		} else {
			b.WriteString("breaks the rule " + v.Proto.GetRuleId())
		}
		if b.Len() > maxText {
			break
		}
	}
	text := b.String()
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	// Keys of maps are strings of the peer.
	return "validating " + direction + " " + name + ": " + strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "\uFFFD")
}
