// SPDX-License-Identifier: Apache-2.0

// Example: a codec of one's own.

package connect

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"net/http/httptest"
)

// gobCodec sends any Go value, between Go programs.
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

// Messages are whatever the codec takes. Handlers speak the codec besides
// Protobuf and JSON; the content type tells which is meant.
func ExampleWithCodec() {
	type point struct{ X, Y int }
	const procedure = "/geometry.v1.GeometryService/Mirror"
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[point]) (*Response[point], error) {
			return NewResponse(&point{X: req.Msg.Y, Y: req.Msg.X}), nil
		}, WithCodec(gobCodec{})))
	defer server.Close()

	client := NewClient[point, point](server.Client(), server.URL+procedure, WithCodec(gobCodec{}))
	res, err := client.CallUnary(context.Background(), NewRequest(&point{X: 1, Y: 2}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*res.Msg, res.Header().Get("Content-Type"))
	// Output:
	// {2 1} application/gob
}
