// SPDX-License-Identifier: Apache-2.0

// The schema of grpc.health.v1, and its messages.

package health

import (
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/internal/protofile"
)

// ServiceName is the full name of the service.
const ServiceName = "grpc.health.v1.Health"

// text is the schema. [grpc-proto, grpc/health/v1/health.proto]
const text = `
name: "grpc/health/v1/health.proto"
package: "grpc.health.v1"
syntax: "proto3"
options {
	csharp_namespace: "Grpc.Health.V1"
	go_package: "google.golang.org/grpc/health/grpc_health_v1"
	java_multiple_files: true
	java_outer_classname: "HealthProto"
	java_package: "io.grpc.health.v1"
	objc_class_prefix: "GrpcHealthV1"
}
message_type {
	name: "HealthCheckRequest"
	field { name: "service" json_name: "service" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
}
message_type {
	name: "HealthCheckResponse"
	field { name: "status" json_name: "status" number: 1 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus" }
	enum_type {
		name: "ServingStatus"
		value { name: "UNKNOWN" number: 0 }
		value { name: "SERVING" number: 1 }
		value { name: "NOT_SERVING" number: 2 }
		value { name: "SERVICE_UNKNOWN" number: 3 }
	}
}
message_type { name: "HealthListRequest" }
message_type {
	name: "HealthListResponse"
	field { name: "statuses" json_name: "statuses" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".grpc.health.v1.HealthListResponse.StatusesEntry" }
	nested_type {
		name: "StatusesEntry"
		field { name: "key" json_name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
		field { name: "value" json_name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.health.v1.HealthCheckResponse" }
		options { map_entry: true }
	}
}
service {
	name: "Health"
	method { name: "Check" input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse" }
	method { name: "List" input_type: ".grpc.health.v1.HealthListRequest" output_type: ".grpc.health.v1.HealthListResponse" }
	method { name: "Watch" input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse" server_streaming: true }
}`

// A schema has the descriptors that the package uses.
type schema struct {
	check, list, watch        protoreflect.MethodDescriptor
	service, status, statuses protoreflect.FieldDescriptor
}

// healthSchema makes the descriptors when they are used first.
var healthSchema = sync.OnceValue(func() *schema {
	methods := protofile.Parse(text).Services().Get(0).Methods()
	s := &schema{check: methods.ByName("Check"), list: methods.ByName("List"), watch: methods.ByName("Watch")}
	s.service = s.check.Input().Fields().ByName("service")
	s.status = s.check.Output().Fields().ByName("status")
	s.statuses = s.list.Output().Fields().ByName("statuses")
	return s
})

// request returns a HealthCheckRequest.
func (s *schema) request(service string) *dynamic.Message {
	m := dynamicpb.NewMessage(s.check.Input())
	if service != "" {
		m.Set(s.service, protoreflect.ValueOfString(service))
	}
	return m
}

func (s *schema) serviceOf(request *dynamic.Message) string { return request.Get(s.service).String() }

// response returns a HealthCheckResponse.
func (s *schema) response(status Status) *dynamic.Message {
	m := dynamicpb.NewMessage(s.check.Output())
	if status != StatusUnknown {
		m.Set(s.status, protoreflect.ValueOfEnum(protoreflect.EnumNumber(status)))
	}
	return m
}

func (s *schema) statusOf(response protoreflect.Message) Status {
	return Status(response.Get(s.status).Enum())
}

// listResponse returns a HealthListResponse.
func (s *schema) listResponse(statuses map[string]Status) *dynamic.Message {
	m := dynamicpb.NewMessage(s.list.Output())
	if len(statuses) > 0 {
		all := m.Mutable(s.statuses).Map()
		for service, status := range statuses {
			all.Set(protoreflect.ValueOfString(service).MapKey(), protoreflect.ValueOfMessage(s.response(status)))
		}
	}
	return m
}

func (s *schema) statusesOf(response *dynamic.Message) map[string]Status {
	all := response.Get(s.statuses).Map()
	statuses := make(map[string]Status, all.Len())
	all.Range(func(service protoreflect.MapKey, one protoreflect.Value) bool {
		statuses[service.String()] = s.statusOf(one.Message())
		return true
	})
	return statuses
}
