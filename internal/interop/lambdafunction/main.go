// SPDX-License-Identifier: Apache-2.0

// Command lambdafunction serves the test service in the runtime of github.com/aws/aws-lambda-go. With an argument it streams
// responses.
package main

import (
	"os"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"github.com/seed-b7c59c10/connect/lambda"
)

func main() {
	function := lambda.New(ours.NewHandler())
	if len(os.Args) > 1 {
		runtime.Start(function.Stream)
	}
	runtime.Start(function)
}
