// SPDX-License-Identifier: Apache-2.0

// This file calls every kind of procedure in every protocol through both proxies, and
// compares what the caller sees with a call without a proxy.

package proxy_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

// visible is an outcome in the parts that must not depend on a proxy.
type visible struct {
	Responses     []*conntestv1.Response
	Header        map[string][]string
	Trailer       map[string][]string
	Code          connect.Code
	Message       string
	Wire          bool
	Details       []string
	ErrorMetadata map[string][]string
}

func visibleOf(o outcome) visible {
	keep := func(h http.Header) map[string][]string {
		kept := make(map[string][]string)
		for key, values := range h {
			if strings.HasPrefix(key, "Echo") || key == "Failed" {
				kept[key] = slices.Compact(slices.Clone(values)) // a client adds headers and trailers of an error
			}
		}
		return kept
	}
	v := visible{Responses: o.responses}
	var e *connect.Error
	if !errors.As(o.err, &e) {
		v.Header, v.Trailer = keep(o.header), keep(o.trailer)
		return v
	}
	v.Code, v.Message, v.Wire, v.ErrorMetadata = e.Code(), e.Message(), connect.IsWireError(e), keep(e.Meta())
	for _, d := range e.Details() {
		v.Details = append(v.Details, d.Type()+" "+string(d.Bytes()))
	}
	return v
}

// cases are requests and what they ask for.
func cases(t *testing.T) map[string][]*request {
	detail, err := anypb.New(durationpb.New(7))
	if err != nil {
		t.Fatal(err)
	}
	unknown := &anypb.Any{TypeUrl: "type.googleapis.com/only.the.Backend", Value: []byte("\x0a\x01x")}
	failure := &conntestv1.Failure{Code: uint32(connect.CodeResourceExhausted), Message: "as asked: \u2713 100%", Details: []*anypb.Any{detail, unknown},
		Metadata: map[string]string{"Failed": "meta"}}
	return map[string][]*request{
		"answers":         {{Text: "a", Count: 3, Data: []byte("\x00\xff")}, {Text: "b"}},
		"fails at once":   {{Text: "a", Failure: failure}},
		"fails later":     {{Text: "a", Count: 2, Failure: failure}},
		"compressed":      {{Text: strings.Repeat("long ", 1000), Count: 2}},
		"an empty answer": {{Count: 1}},
	}
}

// checkMatrix runs all cases in front of a handler, on all engines or on some.
func checkMatrix(t *testing.T, front http.Handler, on ...string) {
	straightURL, straightClient := engines[1].start(t, backendHandler())
	header := http.Header{"Ask": {"one", "two"}, "Ask-Bin": {connect.EncodeBinaryHeader([]byte{0, 1, 2})}}
	for _, e := range engines {
		if len(on) > 0 && !slices.Contains(on, e.name) {
			continue
		}
		for protocol, protocolOption := range protocols {
			url, httpClient := e.start(t, front)
			for codec, codecOption := range map[string]connect.ClientOption{"proto": connect.WithClientOptions(), "json": connect.WithProtoJSON()} {
				options := []connect.ClientOption{protocolOption, codecOption, connect.WithSendGzip(), connect.WithHTTPGet()}
				straight := conntestv1connect.NewTestServiceClient(straightClient, straightURL, options...)
				through := conntestv1connect.NewTestServiceClient(httpClient, url, options...)
				for _, kind := range kinds {
					if kind == "Bidi" && e.name == "h1" {
						continue
					}
					for name, requests := range cases(t) {
						t.Run(strings.Join([]string{e.name, protocol, codec, kind, name}, "/"), func(t *testing.T) {
							want := call(testContext(t), straight, kind, header, requests...)
							got := call(testContext(t), through, kind, header, requests...)
							if diff := cmp.Diff(visibleOf(want), visibleOf(got), protocmp.Transform()); diff != "" {
								t.Errorf("without a proxy -, with +:\n%s", diff)
							}
							if want.err == nil && len(got.header["Via-Seen"]) != 1 {
								t.Errorf("the server saw Via %q, want one proxy", got.header["Via-Seen"])
							}
						})
					}
				}
			}
		}
	}
}

// TestForward checks the proxy without a schema.
func TestForward(t *testing.T) {
	target := start(t, backendHandler(), false)
	checkMatrix(t, forward(t, target))
}

// TestForwardH2 has package h2 on the way to the server.
func TestForwardH2(t *testing.T) {
	target := start(t, backendHandler(), true)
	checkMatrix(t, forward(t, target, proxy.WithTransport(engineTransport(t))), "direct")
}

// TestTranslate checks the proxy that translates, from each protocol to each.
func TestTranslate(t *testing.T) {
	target, httpClient := engines[1].start(t, backendHandler())
	for name, option := range protocols {
		t.Run("to-"+name, func(t *testing.T) {
			translator := proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: httpClient, BaseURL: target, Options: []connect.ClientOption{option}})
			if name == "grpc" {
				checkMatrix(t, translator, "h1", "direct")
			} else {
				checkMatrix(t, translator, "h1")
			}
		})
	}
}
