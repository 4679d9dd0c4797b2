// SPDX-License-Identifier: Apache-2.0

// The allocations of a call. The race detector allocates.

//go:build !race

package auth_test

import (
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/inprocess"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// TestAlloc checks what credentials cost a call on the direct path, on either side.
func TestAlloc(t *testing.T) {
	measure := func(clientOptions []connect.ClientOption, handlerOptions ...connect.HandlerOption) float64 {
		_, handler := conntestv1connect.NewTestServiceHandler(new(service), handlerOptions...)
		client := conntestv1connect.NewTestServiceClient(&http.Client{Transport: inprocess.NewTransport(handler)}, "https://in.process", clientOptions...)
		request := connect.NewRequest(&conntestv1.Request{Text: "a"})
		return testing.AllocsPerRun(2000, func() {
			if _, err := client.Unary(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	credentials := []connect.ClientOption{auth.Credentials(auth.StaticToken("ada"))}
	neither, client, both := measure(nil), measure(credentials), measure(credentials, auth.Require(auth.Bearer(ada)))
	t.Logf("%v allocations without credentials, %v with those of the client, %v with a guard, too", neither, client, both)
	if most := neither + 10; client > most {
		t.Errorf("got %v allocations with the client's credentials, want at most %v", client, most)
	}
	if most := client + 10; both > most {
		t.Errorf("got %v allocations with a guard, want at most %v", both, most)
	}
}
