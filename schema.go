// SPDX-License-Identifier: Apache-2.0

// The option of package methodoption in the schema of a method. This package finds it by
// its number, and so does not import that one.

package connect

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The numbers of the schema seedb7c59c10/connect/v1/timeouts.proto, and of
// google.protobuf.Duration.
const (
	timeoutsNumber        protowire.Number = 95526601
	timeoutsDefaultNumber protowire.Number = 1
	timeoutsMaxNumber     protowire.Number = 2
	durationSeconds       protowire.Number = 1
	durationNanos         protowire.Number = 2
)

// readSchema sets the times that no option has set to those of a method's schema. It
// reads the encoded option: whether its Go type is part of the program makes no
// difference.
func (t *times) readSchema(schema any) {
	method, ok := schema.(protoreflect.MethodDescriptor)
	if !ok || t.standard.set && t.most.set {
		return
	}
	for value := range bytesOf(encodedOptions(method), timeoutsNumber) {
		for d := range bytesOf(value, timeoutsDefaultNumber) {
			if !t.standard.set {
				t.standard.Duration = durationOf(d)
			}
		}
		for d := range bytesOf(value, timeoutsMaxNumber) {
			if !t.most.set {
				t.most.Duration = durationOf(d)
			}
		}
	}
}

// encodedOptions returns the options of a method, as Protobuf. A program that has no
// Go type for options at all has no schema that sets the option.
func encodedOptions(method protoreflect.MethodDescriptor) []byte {
	if _, err := protoregistry.GlobalTypes.FindMessageByName("google.protobuf.MethodOptions"); err != nil {
		return nil // Options would panic if there were options
	}
	options := method.Options()
	if options == nil {
		return nil
	}
	encoded, err := proto.Marshal(options)
	if err != nil {
		return nil
	}
	return encoded
}

// bytesOf yields the values of a message's field that are bytes. It stops where the
// message is not Protobuf.
func bytesOf(message []byte, field protowire.Number) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(message) > 0 {
			number, kind, n := protowire.ConsumeTag(message)
			if n < 0 {
				return
			}
			size := protowire.ConsumeFieldValue(number, kind, message[n:])
			if size < 0 {
				return
			}
			if number == field && kind == protowire.BytesType {
				value, _ := protowire.ConsumeBytes(message[n:])
				if !yield(value) {
					return
				}
			}
			message = message[n+size:]
		}
	}
}

// durationOf returns a google.protobuf.Duration, 0 for one that is negative, and the
// longest duration for one that is longer.
func durationOf(message []byte) time.Duration {
	var seconds, nanos int64
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return 0
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return 0
		}
		if kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(message[n:])
			switch number {
			case durationSeconds:
				seconds = int64(value)
			case durationNanos:
				nanos = int64(int32(value))
			}
		}
		message = message[n+size:]
	}
	if seconds < 0 || nanos < 0 {
		return 0
	}
	if seconds >= math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanos)
}
