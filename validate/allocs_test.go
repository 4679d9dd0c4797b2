// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The allocations of the check of a message, above those of protovalidate itself.

package validate_test

import (
	"context"
	"testing"

	"buf.build/go/protovalidate"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/validate"
)

func TestAllocsOfValidMessage(t *testing.T) {
	rules := validate.New()
	request := connect.NewRequest(valid())
	next := rules.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) { return nil, nil })
	call := func() {
		if _, err := next(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	call() // compiles the rules
	bare := testing.AllocsPerRun(100, func() { _ = protovalidate.Validate(request.Msg) })
	if got := testing.AllocsPerRun(100, call) - bare; got > 3 {
		t.Errorf("got %v allocations more than protovalidate's %v, want at most 3", got, bare)
	}
}
