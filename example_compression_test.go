// SPDX-License-Identifier: Apache-2.0

// Example: a compression besides gzip.

package connect

import (
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// inflater makes the standard library's zlib reader a Decompressor.
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

// HTTP's "deflate" is zlib. Handlers accept and offer it besides gzip; clients
// prefer what was added last, and compress requests only if told to.
func ExampleWithCompression() {
	newDecompressor := func() Decompressor { return new(inflater) }
	newCompressor := func() Compressor { return zlib.NewWriter(io.Discard) }
	const procedure = "/echo.v1.EchoService/Echo"
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			fmt.Println("request: ", req.Header().Get("Content-Encoding"))
			return NewResponse(req.Msg), nil
		}, WithCompression("deflate", newDecompressor, newCompressor)))
	defer server.Close()

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure,
		WithAcceptCompression("deflate", newDecompressor, newCompressor),
		WithSendCompression("deflate"))
	res, err := client.CallUnary(context.Background(), NewRequest(wrapperspb.String(strings.Repeat("la", 2000))))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("response:", res.Header().Get("Content-Encoding"), len(res.Msg.Value))
	// Output:
	// request:  deflate
	// response: deflate 4000
}
