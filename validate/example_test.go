// SPDX-License-Identifier: Apache-2.0

// A service whose requests have rules.

package validate_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/validate"
	pb "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1"
	pbconnect "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1/validatetestv1connect"
)

func Example() {
	rules := validate.New()
	if err := rules.Compile(pb.File_validatetest_v1_account_proto.Services().ByName("AccountService")); err != nil {
		fmt.Println(err) // at start, and not with the first call
		return
	}
	mux := http.NewServeMux()
	mux.Handle(pbconnect.NewAccountServiceHandler(&accounts{id: "abc"}, connect.WithInterceptors(rules)))

	client := pbconnect.NewAccountServiceClient(&http.Client{Transport: inprocess.NewTransport(mux)}, "http://in.process")
	_, err := client.Open(context.Background(), connect.NewRequest(&pb.OpenRequest{Email: "ada@example.com", Age: 17}))
	fmt.Println(connect.CodeOf(err))
	for _, v := range validate.Violations(err) {
		fmt.Println(v.GetField().GetElements()[0].GetFieldName(), v.GetRuleId())
	}
	// Output:
	// invalid_argument
	// age int32.gte
}
