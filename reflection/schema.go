// SPDX-License-Identifier: Apache-2.0

// The schemas of grpc.reflection.v1 and v1alpha, which differ in names alone.

package reflection

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect/internal/protofile"
)

// The full names of the service's versions.
const (
	ServiceNameV1      = "grpc.reflection.v1.ServerReflection"
	ServiceNameV1Alpha = "grpc.reflection.v1alpha.ServerReflection"
)

// text is the schema, with VERSION and DEPRECATED for what differs. [grpc-proto,
// grpc/reflection/v1/reflection.proto and v1alpha/reflection.proto]
const text = `
name: "grpc/reflection/VERSION/reflection.proto"
package: "grpc.reflection.VERSION"
syntax: "proto3"
options {
	go_package: "google.golang.org/grpc/reflection/grpc_reflection_VERSION"
	java_multiple_files: true
	java_outer_classname: "ServerReflectionProto"
	java_package: "io.grpc.reflection.VERSION"
	DEPRECATED
}
message_type {
	name: "ServerReflectionRequest"
	field { name: "host" json_name: "host" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
	field { name: "file_by_filename" json_name: "fileByFilename" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
	field { name: "file_containing_symbol" json_name: "fileContainingSymbol" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
	field { name: "file_containing_extension" json_name: "fileContainingExtension" number: 5 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ExtensionRequest" oneof_index: 0 }
	field { name: "all_extension_numbers_of_type" json_name: "allExtensionNumbersOfType" number: 6 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
	field { name: "list_services" json_name: "listServices" number: 7 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
	oneof_decl { name: "message_request" }
}
message_type {
	name: "ExtensionRequest"
	field { name: "containing_type" json_name: "containingType" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
	field { name: "extension_number" json_name: "extensionNumber" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
}
message_type {
	name: "ServerReflectionResponse"
	field { name: "valid_host" json_name: "validHost" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
	field { name: "original_request" json_name: "originalRequest" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ServerReflectionRequest" }
	field { name: "file_descriptor_response" json_name: "fileDescriptorResponse" number: 4 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.FileDescriptorResponse" oneof_index: 0 }
	field { name: "all_extension_numbers_response" json_name: "allExtensionNumbersResponse" number: 5 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ExtensionNumberResponse" oneof_index: 0 }
	field { name: "list_services_response" json_name: "listServicesResponse" number: 6 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ListServiceResponse" oneof_index: 0 }
	field { name: "error_response" json_name: "errorResponse" number: 7 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ErrorResponse" oneof_index: 0 }
	oneof_decl { name: "message_response" }
}
message_type {
	name: "FileDescriptorResponse"
	field { name: "file_descriptor_proto" json_name: "fileDescriptorProto" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
	name: "ExtensionNumberResponse"
	field { name: "base_type_name" json_name: "baseTypeName" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
	field { name: "extension_number" json_name: "extensionNumber" number: 2 label: LABEL_REPEATED type: TYPE_INT32 }
}
message_type {
	name: "ListServiceResponse"
	field { name: "service" json_name: "service" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".grpc.reflection.VERSION.ServiceResponse" }
}
message_type {
	name: "ServiceResponse"
	field { name: "name" json_name: "name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
}
message_type {
	name: "ErrorResponse"
	field { name: "error_code" json_name: "errorCode" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
	field { name: "error_message" json_name: "errorMessage" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
}
service {
	name: "ServerReflection"
	method {
		name: "ServerReflectionInfo"
		input_type: ".grpc.reflection.VERSION.ServerReflectionRequest"
		output_type: ".grpc.reflection.VERSION.ServerReflectionResponse"
		client_streaming: true
		server_streaming: true
	}
}`

// The method of each version, made when it is used first.
var (
	methodV1      = sync.OnceValue(func() protoreflect.MethodDescriptor { return methodOf("v1", "") })
	methodV1Alpha = sync.OnceValue(func() protoreflect.MethodDescriptor { return methodOf("v1alpha", "deprecated: true") })
)

func methodOf(version, deprecated string) protoreflect.MethodDescriptor {
	file := protofile.Parse(strings.NewReplacer("VERSION", version, "DEPRECATED", deprecated).Replace(text))
	return file.Services().Get(0).Methods().Get(0)
}
