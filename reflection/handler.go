// SPDX-License-Identifier: Apache-2.0

// The handlers of both versions, and the answers.

package reflection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
)

const (
	requestMax = 64 << 10 // bytes of a question, which has one name
	nameMax    = 4 << 10  // bytes of a symbol: the time to look it up grows with the square of it
	answerMax  = 1 << 20  // bytes of an answer's files, unless its first one has more
)

// NewHandler returns the pattern and the handler of grpc.reflection.v1, for a mux. It needs
// HTTP/2, as the service is a stream in both directions. Add it to the registry, so that it
// describes itself, too; the reflector's Mount does so.
//
// An answer with a file also has the files that it imports and that the call has not sent
// yet, up to 1 MiB: clients ask for the rest by their paths. A symbol that is a service or
// a method is found if it is mounted; any other one if a mounted service's file, or one that
// those import, or that is linked into the program, has it. Questions that have no answer
// get an error with CodeNotFound, and the call goes on; symbols of more than 4 KiB have
// none. Questions of more than 64 KiB end the call; options may set another limit.
//
// Clients that may call the service see the schema. Protect it as other procedures, with
// interceptors in options. NewHandler panics if r is nil.
func NewHandler(r *Reflector, options ...connect.HandlerOption) (string, http.Handler) {
	return newHandler(r, methodV1(), options)
}

// NewHandlerV1Alpha is [NewHandler] for grpc.reflection.v1alpha, which differs in its name.
// Postman and older versions of grpcui have this one alone.
func NewHandlerV1Alpha(r *Reflector, options ...connect.HandlerOption) (string, http.Handler) {
	return newHandler(r, methodV1Alpha(), options)
}

func newHandler(r *Reflector, method protoreflect.MethodDescriptor, options []connect.HandlerOption) (string, http.Handler) {
	if r == nil {
		panic("reflection: NewHandler: the reflector is nil: pass one of New")
	}
	own := connect.WithHandlerOptions(options...)
	handler := connect.NewBidiStreamHandler(dynamic.Procedure(method), func(_ context.Context, stream *connect.BidiStream[dynamic.Message, dynamic.Message]) error {
		a := &answers{reflector: r, index: r.index(), method: method, sent: make(map[protoreflect.FileDescriptor]bool)}
		for {
			question, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := stream.Send(a.answer(question)); err != nil {
				return err
			}
		}
	}, dynamic.WithMethod(method), connect.WithReadMaxBytes(requestMax), own)
	return "/" + string(method.Parent().FullName()) + "/", connect.NewServiceHandler([]*connect.Handler{handler}, own)
}

// answers makes the answers of one call.
type answers struct {
	reflector *Reflector
	index     *index
	method    protoreflect.MethodDescriptor
	sent      map[protoreflect.FileDescriptor]bool
}

// answer returns the response to a request.
func (a *answers) answer(question *dynamic.Message) *dynamic.Message {
	fields := a.method.Output().Fields()
	response := dynamicpb.NewMessage(a.method.Output())
	response.Set(fields.ByName("original_request"), protoreflect.ValueOfMessage(question))
	if host := question.Get(a.method.Input().Fields().ByName("host")); host.String() != "" {
		response.Set(fields.ByName("valid_host"), host)
	}
	var err error
	asked := question.WhichOneof(a.method.Input().Oneofs().Get(0))
	if asked == nil {
		err = connect.NewError(connect.CodeInvalidArgument, errors.New("reflect: the request has no message_request of grpc.reflection"))
	} else {
		value := question.Get(asked)
		switch asked.Name() {
		case "file_by_filename":
			err = a.fileByName(response, value.String())
		case "file_containing_symbol":
			err = a.fileOfSymbol(response, value.String())
		case "file_containing_extension":
			err = a.fileOfExtension(response, value.Message())
		case "all_extension_numbers_of_type":
			err = a.extensionNumbers(response, value.String())
		case "list_services":
			a.services(response)
		}
	}
	if err != nil {
		failure := response.Mutable(fields.ByName("error_response")).Message()
		set(failure, "error_code", protoreflect.ValueOfInt32(int32(connect.CodeOf(err))))
		set(failure, "error_message", protoreflect.ValueOfString(textOf(err)))
	}
	return response
}

func (a *answers) fileByName(response *dynamic.Message, path string) error {
	file := a.index.file(path)
	if importer, missing := a.index.missing[path]; file == nil && missing {
		return notFound("the file %.200q, which %.200q imports, is not linked into this server: generate its code with the path by which it is imported", path, importer)
	}
	return a.files(response, file, "there is no file %.200q", path)
}

func (a *answers) fileOfSymbol(response *dynamic.Message, name string) error {
	var file protoreflect.FileDescriptor
	if found := a.index.descriptor(protoreflect.FullName(name)); found != nil {
		file = found.ParentFile()
	} else if path, hidden := a.index.hidden[protoreflect.FullName(name)]; hidden {
		return notFound("the service %q is in a file %.200q, and another file of this server has that path, or a name in it: give each file a path and a package of its own", name, path)
	}
	return a.files(response, file, "there is no symbol %.200q", name)
}

func (a *answers) fileOfExtension(response *dynamic.Message, question protoreflect.Message) error {
	name, number := get(question, "containing_type").String(), get(question, "extension_number").Int()
	file := a.index.extension(protoreflect.FullName(name), protoreflect.FieldNumber(number))
	return a.files(response, file, "there is no extension %[2]d of %.200[1]q", name, number)
}

func (a *answers) extensionNumbers(response *dynamic.Message, name string) error {
	numbers, found := a.index.extensionNumbers(protoreflect.FullName(name))
	if !found {
		return notFound("there is no message %.200q", name)
	}
	answer := response.Mutable(a.method.Output().Fields().ByName("all_extension_numbers_response")).Message()
	set(answer, "base_type_name", protoreflect.ValueOfString(name))
	list := answer.Mutable(answer.Descriptor().Fields().ByName("extension_number")).List()
	for _, number := range numbers {
		list.Append(protoreflect.ValueOfInt32(int32(number)))
	}
	return nil
}

func (a *answers) services(response *dynamic.Message) {
	answer := response.Mutable(a.method.Output().Fields().ByName("list_services_response")).Message()
	list := answer.Mutable(answer.Descriptor().Fields().ByName("service")).List()
	for _, service := range a.index.services {
		one := list.NewElement()
		set(one.Message(), "name", protoreflect.ValueOfString(string(service.FullName())))
		list.Append(one)
	}
}

// files adds a file, and what it imports and the call has not sent yet, to a response.
// Without a file it returns an error.
func (a *answers) files(response *dynamic.Message, file protoreflect.FileDescriptor, format string, args ...any) error {
	if file == nil {
		return notFound(format, args...)
	}
	var all [][]byte
	size := 0
	seen := map[protoreflect.FileDescriptor]bool{file: true}
	for queue := []protoreflect.FileDescriptor{file}; len(queue) > 0; queue = queue[1:] {
		next := queue[0]
		if next == file || !a.sent[next] {
			encoded, err := a.reflector.encoded(next)
			if err != nil {
				return connect.NewError(connect.CodeInternal, fmt.Errorf("reflect: encode the descriptor of %q: %w", next.Path(), err))
			}
			if size += len(encoded); size > answerMax && len(all) > 0 {
				break
			}
			all = append(all, encoded)
			a.sent[next] = true
		}
		for i := range next.Imports().Len() {
			imported := next.Imports().Get(i)
			if !imported.IsPlaceholder() && !seen[imported.FileDescriptor] {
				seen[imported.FileDescriptor] = true
				queue = append(queue, imported.FileDescriptor)
			}
		}
	}
	answer := response.Mutable(a.method.Output().Fields().ByName("file_descriptor_response")).Message()
	list := answer.Mutable(answer.Descriptor().Fields().ByName("file_descriptor_proto")).List()
	for _, encoded := range all {
		list.Append(protoreflect.ValueOfBytes(encoded))
	}
	return nil
}

func notFound(format string, args ...any) error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf("reflect: "+format, args...))
}

// textOf returns the text of an error without its code.
func textOf(err error) string {
	if coded := new(connect.Error); errors.As(err, &coded) {
		return coded.Message()
	}
	return err.Error()
}

func get(m protoreflect.Message, field protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(field))
}

func set(m protoreflect.Message, field protoreflect.Name, value protoreflect.Value) {
	m.Set(m.Descriptor().Fields().ByName(field), value)
}

// byPath orders files.
func byPath(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) }
