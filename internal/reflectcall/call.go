// SPDX-License-Identifier: Apache-2.0

// Package reflectcall calls a server's reflection. The messages are read and written field
// by field, so that no name of grpc.reflection is registered.
package reflectcall

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed-b7c59c10/connect"
)

// The fields of grpc.reflection.v1, which are those of v1alpha, too. [grpc-proto,
// grpc/reflection/v1/reflection.proto]
const (
	askFile       protowire.Number = 3 // file_by_filename
	askSymbol     protowire.Number = 4 // file_containing_symbol
	askExtension  protowire.Number = 5 // file_containing_extension
	askExtensions protowire.Number = 6 // all_extension_numbers_of_type
	askServices   protowire.Number = 7 // list_services

	gotFiles      protowire.Number = 4 // file_descriptor_response
	gotExtensions protowire.Number = 5 // all_extension_numbers_response
	gotServices   protowire.Number = 6 // list_services_response
	gotError      protowire.Number = 7 // error_response

	extensionOf      protowire.Number = 1 // ExtensionRequest.containing_type
	extensionNumber  protowire.Number = 2 // ExtensionRequest.extension_number
	filesProto       protowire.Number = 1 // FileDescriptorResponse.file_descriptor_proto
	extensionsNumber protowire.Number = 2 // ExtensionNumberResponse.extension_number
	servicesOne      protowire.Number = 1 // ListServiceResponse.service
	servicesOneKey   protowire.Number = 1 // ServiceResponse.name
	errorCode        protowire.Number = 1 // ErrorResponse.error_code
	errorMessage     protowire.Number = 2 // ErrorResponse.error_message
)

// maxNames bounds the services, and the extensions of a message, that an answer may name.
const maxNames = 100_000

// A Server is a server whose reflection is called. It is safe for concurrent use.
type Server struct {
	HTTPClient connect.HTTPClient
	BaseURL    string
	Options    []connect.ClientOption

	alpha atomic.Bool // the server has v1alpha alone
}

// Call calls ask with a call of grpc.reflection.v1, or of v1alpha if the server does not
// have that, and ends the call. Errors of the call are or wrap a [*connect.Error].
func (s *Server) Call(ctx context.Context, ask func(*Call) error) error {
	var err error
	if !s.alpha.Load() {
		if err = s.call(ctx, "v1", ask); connect.CodeOf(err) != connect.CodeUnimplemented {
			return s.explain(err)
		}
	}
	if err = s.call(ctx, "v1alpha", ask); err == nil {
		s.alpha.Store(true)
	}
	return s.explain(err)
}

func (s *Server) explain(err error) error {
	if err != nil {
		return fmt.Errorf("reflect %s: %w", s.Host(), err)
	}
	return nil
}

// Host returns the server's host for the texts of errors. The rest of its URL may be
// secret.
func (s *Server) Host() string {
	u, err := url.Parse(s.BaseURL)
	if err != nil {
		return "server"
	}
	return u.Host
}

func (s *Server) call(ctx context.Context, version string, ask func(*Call) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	address := strings.TrimRight(s.BaseURL, "/") + "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"
	options := append(slices.Clone(s.Options), connect.WithCodec(rawCodec{}))
	stream := connect.NewClient[[]byte, []byte](s.HTTPClient, address, options...).CallBidiStream(ctx)
	defer func() { _ = stream.CloseResponse() }()
	if err := ask(&Call{stream: stream}); err != nil {
		return err
	}
	return stream.CloseRequest()
}

// A Call is a stream of questions and answers. One goroutine at a time may use it.
type Call struct {
	stream *connect.BidiStreamForClient[[]byte, []byte]
}

// ask sends a question and returns the part of the answer that is expected.
func (c *Call) ask(field protowire.Number, value string, want protowire.Number) ([]byte, error) {
	question := protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), value)
	sent := c.stream.Send(&question)
	answer, err := c.stream.Receive() // after a failed Send it returns the reason
	if err != nil {
		return nil, err
	}
	if sent != nil {
		return nil, sent
	}
	var part, failure []byte
	err = eachField(*answer, func(field protowire.Number, data []byte, _ uint64) error {
		switch field {
		case want:
			part = data
		case gotError:
			failure = data
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return nil, failureOf(failure)
	case part == nil:
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("read the answer for %q: field %d is missing", value, want))
	}
	return part, nil
}

// failureOf returns the error in an ErrorResponse.
func failureOf(data []byte) error {
	code, text := connect.CodeUnknown, ""
	if err := eachField(data, func(field protowire.Number, data []byte, number uint64) error {
		switch {
		case field == errorCode && number >= 1 && number <= 16:
			code = connect.Code(number)
		case field == errorMessage:
			text = string(data)
		}
		return nil
	}); err != nil {
		return err
	}
	return connect.NewWireError(code, errors.New(text))
}

// Services returns the names of the server's services, in the server's order, those of
// reflection included.
func (c *Call) Services() ([]string, error) {
	part, err := c.ask(askServices, "*", gotServices)
	if err != nil {
		return nil, err
	}
	var names []string
	err = eachField(part, func(field protowire.Number, one []byte, _ uint64) error {
		if field != servicesOne {
			return nil
		}
		return eachField(one, func(field protowire.Number, name []byte, _ uint64) error {
			if field == servicesOneKey {
				names = append(names, string(name))
			}
			return tooMany(len(names))
		})
	})
	return names, err
}

// ExtensionNumbers returns the field numbers of the extensions of a message that the server
// has.
func (c *Call) ExtensionNumbers(message string) ([]int32, error) {
	part, err := c.ask(askExtensions, message, gotExtensions)
	if err != nil {
		return nil, err
	}
	var numbers []int32
	err = eachField(part, func(field protowire.Number, packed []byte, number uint64) error {
		switch {
		case field != extensionsNumber:
		case packed == nil: // a number by itself
			numbers = append(numbers, int32(number))
		default:
			for len(packed) > 0 {
				number, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return broken(n)
				}
				packed = packed[n:]
				numbers = append(numbers, int32(number))
			}
		}
		return tooMany(len(numbers))
	})
	return numbers, err
}

func tooMany(names int) error {
	if names > maxNames {
		return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("read the answer: it names more than %d", maxNames))
	}
	return nil
}

// eachField calls f for each field of a message: with its bytes, or with its number
// for a varint.
func eachField(message []byte, f func(field protowire.Number, data []byte, number uint64) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		var data []byte
		var number uint64
		if n >= 0 {
			message = message[n:]
			switch kind {
			case protowire.BytesType:
				data, n = protowire.ConsumeBytes(message)
			case protowire.VarintType:
				number, n = protowire.ConsumeVarint(message)
			default:
				n = protowire.ConsumeFieldValue(field, kind, message)
			}
		}
		if n < 0 {
			return broken(n)
		}
		message = message[n:]
		if data == nil && kind == protowire.BytesType {
			data = []byte{}
		}
		if err := f(field, data, number); err != nil {
			return err
		}
	}
	return nil
}

func broken(n int) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("read the answer of the server's reflection: %w", protowire.ParseError(n)))
}

// rawCodec is the codec "proto" for messages that are encoded already.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = slices.Clone(data)
	return nil
}
