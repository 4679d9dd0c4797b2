// SPDX-License-Identifier: Apache-2.0

// Rules that are compiled before the first call.

package validate

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Compile compiles the rules of the messages of services, so that their first calls do not
// wait for it: of requests, of responses if they are checked, and of the messages in both.
// It returns an error that names each message type whose rules do not compile, nil if
// there is none. A validator with [protovalidate.WithDisableLazy] cannot compile more than
// what it was made with, and Compile returns an error for the rest.
//
// A validator keeps compiled rules for as long as it exists. A program that loads schemas
// again and again uses a validator for each of them: see [WithValidator].
func (i *Interceptor) Compile(services ...protoreflect.ServiceDescriptor) error {
	c := compilation{validator: i.validator, seen: make(map[protoreflect.MessageDescriptor]bool)}
	for _, s := range services {
		methods := s.Methods()
		for n := range methods.Len() {
			c.compile(methods.Get(n).Input())
			if i.responses {
				c.compile(methods.Get(n).Output())
			}
		}
	}
	return errors.Join(c.mistakes...)
}

// compilation compiles each type once.
type compilation struct {
	validator protovalidate.Validator
	seen      map[protoreflect.MessageDescriptor]bool
	mistakes  []error
}

// compile checks an empty message of a type, and of the types of its fields: an empty
// message has none of these, so their mistakes would not come up.
func (c *compilation) compile(d protoreflect.MessageDescriptor) {
	if c.seen[d] {
		return
	}
	c.seen[d] = true
	var mistake *protovalidate.CompilationError
	if err := c.validator.Validate(dynamicpb.NewMessage(d)); errors.As(err, &mistake) {
		c.mistakes = append(c.mistakes, fmt.Errorf("compiling the rules of %s: %w", d.FullName(), err))
	}
	fields := d.Fields()
	for n := range fields.Len() {
		if m := fields.Get(n).Message(); m != nil {
			c.compile(m)
		}
	}
}
