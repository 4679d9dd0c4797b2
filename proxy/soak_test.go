// SPDX-License-Identifier: Apache-2.0

// This file runs many calls at once through both proxies, with callers that cancel,
// deadlines that pass, and servers that break off. TestMain looks for goroutines that
// are left.

package proxy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

func TestSoak(t *testing.T) {
	calls := 240
	if testing.Short() {
		calls = 80
	}
	var begun, over atomic.Int64
	behind := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		defer over.Add(1)
		switch r.Header.Get("Do") {
		case "break":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			_, _ = w.Write([]byte{0, 0, 0})
			panic(http.ErrAbortHandler)
		case "wait":
			<-r.Context().Done()
			return
		}
		backendHandler().ServeHTTP(w, r)
	})
	for name, index := range map[string]int{"h2c": 1, "direct": 2} {
		t.Run(name, func(t *testing.T) {
			target, backClient := engines[index].start(t, behind)
			fronts := map[string]http.Handler{
				"forward":   forward(t, target, proxy.WithTransport(backClient.Transport)),
				"translate": proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}}),
			}
			for front, handler := range fronts {
				url, httpClient := engines[index].start(t, handler)
				var good atomic.Int64
				var group sync.WaitGroup
				for worker := range 8 {
					random := rand.New(rand.NewPCG(uint64(worker), uint64(index)))
					group.Go(func() {
						for range calls / 8 {
							ctx, cancel := context.WithTimeout(t.Context(), patience)
							header, want := http.Header{}, ""
							switch random.IntN(5) {
							case 0:
								header.Set("Do", "break")
								want = "an error"
							case 1:
								cancel()
								ctx, cancel = context.WithTimeout(t.Context(), time.Duration(random.IntN(5))*time.Millisecond)
								header.Set("Do", "wait")
								want = "an error"
							case 2:
								time.AfterFunc(time.Duration(random.IntN(3))*time.Millisecond, cancel)
								want = "any"
							}
							protocol := []string{"connect", "grpc", "grpcweb"}[random.IntN(3)]
							client := conntestv1connect.NewTestServiceClient(httpClient, url, protocols[protocol])
							kind := kinds[random.IntN(len(kinds))]
							sent := &request{Text: fmt.Sprint(worker), Data: make([]byte, random.IntN(100_000)), Count: 1 + random.Int32N(5)}
							o := call(ctx, client, kind, header, sent)
							cancel()
							switch {
							case want == "any":
							case want != "" && o.err == nil:
								t.Errorf("%s/%s %s: got success, want %s", front, protocol, kind, want)
							case want == "" && o.err != nil:
								t.Errorf("%s/%s %s: %v", front, protocol, kind, o.err)
							case want == "":
								good.Add(1)
								if last := o.responses[len(o.responses)-1]; last.GetText() != sent.GetText() || proto.Size(last) < len(sent.GetData()) {
									t.Errorf("%s/%s %s: got another call's response", front, protocol, kind)
								}
							}
						}
					})
				}
				group.Wait()
				if got := good.Load(); got < int64(calls)/5 {
					t.Errorf("%s: %d calls of %d succeeded, want more", front, got, calls)
				}
			}
		})
	}
	t.Cleanup(func() {
		for begun.Load() != over.Load() { // the test's patience is that of go test
			time.Sleep(time.Millisecond)
		}
	})
}
