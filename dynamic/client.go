// SPDX-License-Identifier: Apache-2.0

// Clients of methods that are known at run time.

package dynamic

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
)

// NewClient returns a client for a method of the server at baseURL, such as
// "https://api.acme.com". Its responses have the type of the method's output, and
// its requests must have that of the input: see [WithMethod], which it applies. The
// options are those of [connect.NewClient].
//
//	client := dynamic.NewClient(http.DefaultClient, "https://api.acme.com", method)
//	request := dynamicpb.NewMessage(method.Input())
//	response, err := client.CallUnary(ctx, connect.NewRequest(request))
func NewClient(
	httpClient connect.HTTPClient,
	baseURL string,
	method protoreflect.MethodDescriptor,
	options ...connect.ClientOption,
) *connect.Client[Message, Message] {
	all := append([]connect.ClientOption{WithMethod(method)}, options...)
	return connect.NewClient[Message, Message](httpClient, strings.TrimRight(baseURL, "/")+Procedure(method), all...)
}
