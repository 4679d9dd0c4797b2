// SPDX-License-Identifier: Apache-2.0

// Example: the options of JSON.

package examples_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/typepb"
)

// A handler writes JSON with the names of the schema, and refuses fields that the
// schema does not have.
func ExampleWithJSONOptions() {
	const procedure = "/schema.v1.SchemaService/Echo"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[typepb.Field]) (*connect.Response[typepb.Field], error) {
			return connect.NewResponse(req.Msg), nil
		}, connect.WithJSONOptions(connect.JSONOptions{UseProtoNames: true, RefuseUnknown: true})))
	defer server.Close()

	for _, body := range []string{`{"typeUrl":"a"}`, `{"typeURL":"a"}`} {
		res, err := server.Client().Post(server.URL+procedure, "application/json", strings.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		answer, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Println(res.StatusCode, strings.Contains(string(answer), "type_url"))
	}
	// Output:
	// 200 true
	// 400 false
}
