// SPDX-License-Identifier: Apache-2.0

// Example: a compression besides gzip.

package examples_test

import (
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// inflater is a Decompressor on the standard library's zlib reader.
type inflater struct{ io.ReadCloser }

func (i *inflater) Reset(src io.Reader) error {
	if resetter, ok := i.ReadCloser.(zlib.Resetter); ok {
		return resetter.Reset(src, nil)
	}
	r, err := zlib.NewReader(src)
	if err == nil {
		i.ReadCloser = r
	}
	return err
}

func (i *inflater) Close() error {
	if i.ReadCloser == nil {
		return nil
	}
	return i.ReadCloser.Close()
}

// The compression "deflate" of HTTP has zlib's format. The handler has it besides
// gzip. The client lists it first, because the option adds it last, and sends its
// requests in it because of WithSendCompression.
func Example_compression() {
	newDecompressor := func() connect.Decompressor { return new(inflater) }
	newCompressor := func() connect.Compressor { return zlib.NewWriter(io.Discard) }
	const procedure = "/echo.v1.EchoService/Echo"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			fmt.Println("request: ", req.Header().Get("Content-Encoding"))
			return connect.NewResponse(req.Msg), nil
		}, connect.WithCompression("deflate", newDecompressor, newCompressor)))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure,
		connect.WithAcceptCompression("deflate", newDecompressor, newCompressor),
		connect.WithSendCompression("deflate"))
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String(strings.Repeat("la", 2000))))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("response:", res.Header().Get("Content-Encoding"), len(res.Msg.Value))
	// Output:
	// request:  deflate
	// response: deflate 4000
}

// A handler sends a secret that stands next to a text of the caller as it is: its
// compressed size would show what the two have in common. Other responses of the
// procedure are compressed.
func Example_withoutCompression() {
	const procedure = "/account.v1.AccountService/Show"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(ctx context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			text := strings.Repeat(req.Msg.Value+" ", 500)
			if req.Msg.Value == "token" {
				info, _ := connect.CallInfoForHandlerContext(ctx)
				if err := info.SetSendCompression("identity"); err != nil {
					return nil, err
				}
			}
			return connect.NewResponse(wrapperspb.String(text)), nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	for _, what := range []string{"name", "token"} {
		res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String(what)))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %q\n", what, res.Header().Get("Content-Encoding"))
	}
	// Output:
	// name: "gzip"
	// token: ""
}
