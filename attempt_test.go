// SPDX-License-Identifier: Apache-2.0

// Attempts: the headers of each are those that the request had before the first.

package connect

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
)

// An ownRequest is a request of a type of the program, with headers of its own.
type ownRequest struct {
	AnyRequest
	own http.Header
}

func (r *ownRequest) Header() http.Header { return r.own }

// TestSavedHeader changes the headers of a request in every way after they were saved. An
// attempt gets those that were saved, and slices of its own.
func TestSavedHeader(t *testing.T) {
	library := http.Header{"User-Agent": {"library"}, "Content-Type": {"application/proto"}}
	for _, keys := range []int{0, 1, 12, 13, 40} {
		for _, own := range []bool{false, true} {
			request := NewRequest(new(emptypb.Empty))
			request.call.shown = library
			var r AnyRequest = request
			if own {
				r = &ownRequest{request, make(http.Header)}
			}
			var want http.Header
			for i := range keys {
				r.Header().Add(fmt.Sprint("K", i), "a")
				r.Header().Add(fmt.Sprint("K", i), "b")
			}
			if keys == 0 && !own {
				saved := SaveHeader(r)
				if request.call.header.made() != nil {
					t.Error("got a header that SaveHeader has made, want none")
				}
				want = library
				check := NewRequest(new(emptypb.Empty))
				saved.Restore(check)
				if check.call.header.made() != nil {
					t.Error("got a header that Restore has made, want none")
				}
			} else {
				want = r.Header().Clone()
			}
			saved := SaveHeader(r)
			clear(r.Header())
			r.Header().Set("Added", "by an interceptor")
			for range 2 { // also for several attempts
				_, attempt, _ := NewAttempt(context.Background(), r)
				saved.Restore(attempt)
				if got := attempt.Header(); !reflect.DeepEqual(maps.Clone(got), maps.Clone(want)) {
					t.Errorf("%d keys, own type %v: got %v, want %v", keys, own, got, want)
				}
				for key := range attempt.Header() {
					if key[0] == 'K' {
						attempt.Header()[key][0] = "changed"
						attempt.Header().Add(key, "c")
					}
				}
			}
		}
	}
}
