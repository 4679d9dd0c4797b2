// SPDX-License-Identifier: Apache-2.0

// Many calls at once with good and bad messages, which are cancelled, time out or leave.

package validate_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/validate"
)

func TestSoak(t *testing.T) {
	for i, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			rules := validate.New(validate.WithValidateResponses())
			s := serve(t, &accounts{id: "abc"}, rules, c.server...)
			both := newClient(s, append(c.options, connect.WithInterceptors(rules))...)
			client := newClient(s, c.options...)
			kinds := []string{"Open", "OpenMany", "Watch"}
			var workers sync.WaitGroup
			for n := range 4 {
				r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				workers.Go(func() {
					for range 60 {
						ctx, cancel := context.WithCancel(testContext(t))
						msg, kind, use := valid(), kinds[r.IntN(len(kinds))], client
						bad := r.IntN(2) == 0
						if bad {
							msg.Age = 1
						}
						if r.IntN(4) == 0 {
							use = both
						}
						cut := true
						switch r.IntN(4) {
						case 0:
							time.AfterFunc(time.Duration(r.IntN(1000))*time.Microsecond, cancel) // at any point of the call
						case 1:
							cancel()
							ctx, cancel = context.WithTimeout(testContext(t), time.Duration(r.IntN(1000))*time.Microsecond)
						default:
							cut = false
						}
						err := calls[kind](ctx, use, msg)
						switch code := connect.CodeOf(err); {
						case cut && (code == connect.CodeCanceled || code == connect.CodeDeadlineExceeded):
						case bad && code != connect.CodeInvalidArgument, !bad && err != nil:
							t.Errorf("%s, bad %v, cut %v: got %v", kind, bad, cut, err)
						}
						cancel()
						if c.name[:2] != "h1" && r.IntN(4) == 0 { // a stream that is left before its end
							ctx, cancel := context.WithCancel(testContext(t))
							stream := use.Chat(ctx)
							_ = stream.Send(msg)
							if r.IntN(2) == 0 {
								_ = stream.CloseResponse()
							}
							cancel()
						}
					}
				})
			}
			workers.Wait()
			if err := calls["Open"](testContext(t), client, valid()); err != nil {
				t.Errorf("got %v after the calls, want no error", err)
			}
		})
	}
}
