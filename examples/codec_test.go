// SPDX-License-Identifier: Apache-2.0

// Example: a codec besides Protobuf and JSON.

package examples_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"net/http/httptest"

	"github.com/seed-b7c59c10/connect"
)

// gobCodec encodes Go values for other Go programs.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(message any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(message)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, message any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(message)
}

// A codec decides the types of messages. A handler takes messages in this codec,
// in Protobuf and in JSON: the content type of a request names its codec.
func Example_codec() {
	type point struct{ X, Y int }
	const procedure = "/geometry.v1.GeometryService/Mirror"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[point]) (*connect.Response[point], error) {
			return connect.NewResponse(&point{X: req.Msg.Y, Y: req.Msg.X}), nil
		}, connect.WithCodec(gobCodec{})))
	defer server.Close()

	client := connect.NewClient[point, point](server.Client(), server.URL+procedure, connect.WithCodec(gobCodec{}))
	res, err := client.CallUnary(context.Background(), connect.NewRequest(&point{X: 1, Y: 2}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*res.Msg, res.Header().Get("Content-Type"))
	// Output:
	// {2 1} application/gob
}
