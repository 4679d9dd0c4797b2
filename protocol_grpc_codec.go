// SPDX-License-Identifier: Apache-2.0

// gRPC's status in a codec of the program whose name is "proto": connect-go uses it.

package connect

import (
	"fmt"

	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
)

// protobuf returns the program's codec for gRPC's status, nil if that is Protobuf's
// own: see [WithConnectGoBehavior].
func (c *config) protobuf() Codec {
	if !c.connectGo {
		return nil
	}
	codec := c.codecs[codecProto]
	if c.spec.IsClient {
		codec = c.codec
	}
	if _, own := codec.(protoCodec); own || codec.Name() != codecProto {
		return nil
	}
	return codec
}

// grpcStatus is gRPC's status for codecs of programs, which encode Go values. It is a
// message of the Protobuf API v1: package protoadapt reads its descriptor from the
// tags, and registers no name, so that a program may link another package with it.
type grpcStatus struct {
	Code    int32        `protobuf:"varint,1,opt,name=code,proto3"`
	Message string       `protobuf:"bytes,2,opt,name=message,proto3"`
	Details []*anypb.Any `protobuf:"bytes,3,rep,name=details,proto3"`
}

func (*grpcStatus) ProtoMessage() {}

// XXX_MessageName returns the name of the message in connect-go.
func (*grpcStatus) XXX_MessageName() string { return "grpc.status.v1.Status" }

// Reset clears the message.
func (s *grpcStatus) Reset() { *s = grpcStatus{} }

// String returns the message for people.
func (s *grpcStatus) String() string { return fmt.Sprintf("%v: %s", Code(s.Code), s.Message) }

// marshalStatus is appendStatus by a codec, which may be nil.
func marshalStatus(e *Error, codec Codec) ([]byte, error) {
	if codec == nil {
		return appendStatus(nil, e), nil
	}
	s := &grpcStatus{Code: int32(e.code), Message: e.text()}
	for _, d := range e.details {
		s.Details = append(s.Details, &anypb.Any{TypeUrl: d.typeURL, Value: []byte(d.value)})
	}
	return codec.Marshal(protoadapt.MessageV2Of(s))
}

// errStatus is the error in the place of one whose status a codec cannot encode.
func errStatus(err error) *Error {
	return NewError(CodeInternal, fmt.Errorf("marshal gRPC's status: %v", err))
}

// unmarshalStatus is parseStatus by a codec, which may be nil.
func unmarshalStatus(data []byte, codec Codec) (*Error, error) {
	if codec == nil {
		return parseStatus(data)
	}
	s := new(grpcStatus)
	if err := codec.Unmarshal(data, protoadapt.MessageV2Of(s)); err != nil {
		return nil, err
	}
	e := &Error{code: Code(uint32(s.Code)), cause: messageError(s.Message), wire: true}
	for _, d := range s.Details {
		e.details = append(e.details, &ErrorDetail{typeURL: d.GetTypeUrl(), value: string(d.GetValue())})
	}
	return e, nil
}
