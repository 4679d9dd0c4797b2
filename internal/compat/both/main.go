// SPDX-License-Identifier: Apache-2.0

// Both links this library and the reference into one program and prints a line
// from each: it starts only if they register nothing twice with Protobuf.
package main

import (
	"errors"
	"fmt"

	theirs "connectrpc.com/connect"
	ours "github.com/seed-b7c59c10/connect"
)

func main() {
	fmt.Println("ours:", ours.NewError(ours.CodeAborted, errors.New("started")))
	fmt.Println("theirs:", theirs.NewError(theirs.CodeAborted, errors.New("started")))
}
