// SPDX-License-Identifier: Apache-2.0

// The option fakes: a client and a handler whose methods call functions.

package gentest

import (
	"context"
	"iter"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1all"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1iterators"
)

var (
	_ kindsv1all.KindsServiceClient        = (*kindsv1all.FakeKindsServiceClient)(nil)
	_ kindsv1all.KindsServiceHandler       = (*kindsv1all.FakeKindsServiceHandler)(nil)
	_ kindsv1iterators.KindsServiceClient  = (*kindsv1iterators.FakeKindsServiceClient)(nil)
	_ kindsv1iterators.KindsServiceHandler = (*kindsv1iterators.FakeKindsServiceHandler)(nil)
)

func TestFakes(t *testing.T) {
	client := &kindsv1iterators.FakeKindsServiceClient{
		DoubleFunc: func(_ context.Context, req *kindsv1.Number) (*kindsv1.Number, error) {
			return number(req.GetValue() * 2), nil
		},
		CountFunc: func(context.Context, *kindsv1.Number) iter.Seq2[*kindsv1.Number, error] { return values(1, 2) },
	}
	if res, err := client.Double(t.Context(), number(4)); err != nil || res.GetValue() != 8 {
		t.Errorf("got %v, %v, want 8", res, err)
	}
	n := int64(0)
	for res, err := range client.Count(t.Context(), nil) {
		if n++; err != nil || res.GetValue() != n {
			t.Errorf("got %v, %v, want %d", res, err, n)
		}
	}

	// A fake handler behind a real client: the error for a function that is not set.
	fake := &kindsv1all.FakeKindsServiceHandler{
		DoubleFunc: func(_ context.Context, req *connect.Request[kindsv1.Number]) (*connect.Response[kindsv1.Number], error) {
			return connect.NewResponse(number(req.Msg.GetValue() + 1)), nil
		},
	}
	httpClient, url := serve(t, func() (string, http.Handler) { return kindsv1all.NewKindsServiceHandler(fake) })
	real := kindsv1all.NewKindsServiceClient(httpClient, url)
	if res, err := real.Double(t.Context(), connect.NewRequest(number(4))); err != nil || res.Msg.GetValue() != 5 {
		t.Errorf("got %v, %v, want 5", res, err)
	}
	const want = "unimplemented: FakeKindsServiceHandler.MissingFunc is nil: set it before the call"
	if _, err := real.Missing(t.Context(), connect.NewRequest(number(0))); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestFakesWithoutFunctions: methods that have no function return an error, and panic where they cannot.
func TestFakesWithoutFunctions(t *testing.T) {
	iterators := new(kindsv1iterators.FakeKindsServiceClient)
	for _, err := range iterators.Count(t.Context(), nil) {
		if connect.CodeOf(err) != connect.CodeUnimplemented {
			t.Errorf("got %v, want unimplemented", err)
		}
	}
	if _, err := iterators.Add(t.Context()); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("got %v, want unimplemented", err)
	}
	defer func() {
		const want = "FakeKindsServiceClient.AddFunc is nil: set it before the call"
		if got := recover(); got != want {
			t.Errorf("got panic %v, want %s", got, want)
		}
	}()
	new(kindsv1all.FakeKindsServiceClient).Add(t.Context())
}
