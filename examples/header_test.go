// SPDX-License-Identifier: Apache-2.0

// Example: headers that leave before the messages, in both directions.

package examples_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A client asks with its headers whether an upload is welcome, and sends it after the
// handler's headers have arrived.
func Example_sendHeader() {
	const procedure = "/upload.v1.UploadService/Upload"
	server := httptest.NewUnstartedServer(connect.NewClientStreamHandler(procedure,
		func(ctx context.Context, stream *connect.ClientStream[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.Int64Value], error) {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			info.ResponseHeader().Set("Upload-Of", info.RequestHeader().Get("Upload-Name"))
			if err := info.SendHeader(); err != nil {
				return nil, err
			}
			var size int64
			for part, err := range stream.Messages() {
				if err != nil {
					return nil, err
				}
				size += int64(len(part.Value))
			}
			return connect.NewResponse(wrapperspb.Int64(size)), nil
		}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream := client.CallClientStream(context.Background())
	stream.RequestHeader().Set("Upload-Name", "notes.txt")
	if err := stream.Send(nil); err != nil { // the headers alone
		fmt.Println(err)
		return
	}
	conn, err := stream.Conn()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("welcome:", conn.ResponseHeader().Get("Upload-Of")) // waits for them
	for _, part := range []string{"one ", "two"} {
		if err := stream.Send(wrapperspb.Bytes([]byte(part))); err != nil {
			break // CloseAndReceive returns the reason
		}
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("bytes:", res.Msg.Value)
	// Output:
	// welcome: notes.txt
	// bytes: 7
}
