// SPDX-License-Identifier: Apache-2.0

// This file mixes calls that ask, end early, time out, do not read and ask nonsense with
// services that are added, over connections that are closed meanwhile.

package reflection

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/registry"
)

// soakCalls is how many calls each goroutine of the soak makes.
const soakCalls = 30

func TestSoak(t *testing.T) {
	for i, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			procedures, mux := new(registry.Registry), http.NewServeMux()
			mux.Handle(procedures.Add(testService()))
			s := serve(t, procedures, mux, c.server...)
			var answers, ends atomic.Int64
			var group sync.WaitGroup
			for n := range 8 {
				r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				group.Go(func() {
					for call := range soakCalls {
						if r.IntN(10) == 0 {
							name := fmt.Sprintf("soak.n%dc%d", n, call)
							text := fmt.Sprintf(`name: "%[1]s.proto" package: "%[1]s" syntax: "proto3" message_type { name: "M" } service { name: "S" method { name: "M" input_type: ".%[1]s.M" output_type: ".%[1]s.M" } }`, name)
							procedures.Add("/", handlerOf(t, schemaOf(t, text), "/"+name+".S/M"))
						}
						if r.IntN(20) == 0 {
							s.Client().CloseIdleConnections()
						}
						client := dynamic.NewClient(s.Client(), s.URL, methodV1(), c.options...)
						ok, err := soakCall(t, client, r)
						answers.Add(ok)
						if code := connect.CodeOf(err); err != nil && code != connect.CodeCanceled && code != connect.CodeDeadlineExceeded {
							t.Errorf("got error %v", err)
						}
						if err != nil {
							ends.Add(1)
						}
					}
				})
			}
			group.Wait()
			if answers.Load() == 0 || ends.Load() == 0 {
				t.Errorf("got %d answers and %d calls that ended early, want some of each", answers.Load(), ends.Load())
			}
			t.Logf("%d answers, %d calls ended early", answers.Load(), ends.Load())
		})
	}
}

// soakCall asks a few questions, and returns the number of right answers and the error that
// ended the call before its time.
func soakCall(t *testing.T, client *connect.Client[dynamic.Message, dynamic.Message], r *rand.Rand) (answers int64, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	way := r.IntN(6)
	if way == 0 {
		var short context.CancelFunc
		ctx, short = context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
		defer short()
	}
	stream := client.CallBidiStream(ctx)
	defer stream.CloseResponse()
	for range r.IntN(5) + 1 {
		question := []string{`list_services: "*"`, `file_containing_symbol: "conntest.v1.TestService"`, `file_by_filename: "no"`, `all_extension_numbers_of_type: "conntest.v1.Request"`}[r.IntN(4)]
		request := dynamicpb.NewMessage(methodV1().Input())
		if err := prototext.Unmarshal([]byte(question), request); err != nil {
			t.Fatal(err)
		}
		sent := stream.Send(request)
		switch {
		case way == 1 && r.IntN(2) == 0:
			cancel()
		case way == 2:
			continue // does not read
		}
		answer, err := stream.Receive()
		if err != nil {
			return answers, err
		}
		if sent != nil {
			return answers, fmt.Errorf("sent: %w, and got an answer", sent)
		}
		failed := answer.Has(answer.Descriptor().Fields().ByName("error_response"))
		if failed != strings.Contains(question, `"no"`) {
			return answers, fmt.Errorf("%s: got %v", question, answer)
		}
		answers++
	}
	if way == 3 {
		return answers, nil // closed without an end of the requests
	}
	return answers, stream.CloseRequest()
}
