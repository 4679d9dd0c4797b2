// SPDX-License-Identifier: Apache-2.0

// Services and methods of a schema: the names in the code that is generated for them, and its differences.

package main

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A service is a service of the schema, and the names in the code that is generated for it.
type service struct {
	*protogen.Service
	methods []method
	names   vars
}

// A method is a method of the schema, and the names in the code that is generated for it.
type method struct {
	*protogen.Method
	names vars
}

// newServices claims the names of a file's services. The names that only this plugin has come last: an option that adds
// them changes no other name of the file.
func newServices(file scope, options options, services []*protogen.Service) []service {
	var named []service
	for _, s := range services {
		named = append(named, newService(file, s))
	}
	for _, s := range named {
		base := s.GoName
		if options.register {
			s.names["Register"] = file.claim("Register" + base)
		}
		if options.fakes {
			s.names["FakeClient"] = file.claim("Fake" + base + "Client")
			s.names["FakeHandler"] = file.claim("Fake" + base + "Handler")
		}
	}
	return named
}

// newService claims the names of a service and its methods. They are the names that connect-go's plugin uses, so that
// programs still compile with the new code. Only where those names clash, and the code of connect-go's plugin does not
// compile, does this plugin use others.
func newService(file scope, s *protogen.Service) service {
	base := s.GoName
	named := service{Service: s, names: vars{
		"FullService":   string(s.Desc.FullName()),
		"ProtoService":  string(s.Desc.Name()),
		"Name":          file.claim(string(s.Desc.Name()) + "Name"),
		"Client":        file.claim(base + "Client"),
		"NewClient":     file.claim("New" + base + "Client"),
		"Handler":       file.claim(base + "Handler"),
		"NewHandler":    file.claim("New" + base + "Handler"),
		"Unimplemented": file.claim("Unimplemented" + base + "Handler"),
		"client":        file.claim(lowerFirst(base) + "Client"),
	}}
	methods := scope{}
	for _, m := range s.Methods {
		name := methods.claim(m.GoName)
		named.methods = append(named.methods, method{Method: m, names: vars{
			"Method":      name,
			"ProtoMethod": string(m.Desc.Name()),
			"FullMethod":  string(m.Desc.FullName()),
			"Procedure":   file.claim(base + name + "Procedure"),
			"field":       lowerFirst(name) + "Client",
		}})
	}
	for _, m := range named.methods { // after all methods: a field and a method cannot have the same name
		m.names["Func"] = methods.claim(m.names["Method"] + "Func")
	}
	return named
}

func lowerFirst(name string) string {
	return strings.ToLower(name[:1]) + name[1:]
}

// deprecation returns the paragraph for a service that is marked as deprecated, and "" for others.
func (s service) deprecation() string {
	return deprecation(s.Desc)
}

// deprecation returns the paragraph for a method that is marked as deprecated, and "" for others.
func (m method) deprecation() string {
	return deprecation(m.Desc)
}

func deprecation(d protoreflect.Descriptor) string {
	options, ok := d.Options().(interface{ GetDeprecated() bool })
	if !ok || !options.GetDeprecated() {
		return ""
	}
	return "Deprecated: the schema marks " + string(d.FullName()) + " as deprecated."
}

// idempotency returns the name of the runtime's constant for the level of a method, and "" if the schema has no level.
func (m method) idempotency() string {
	options, _ := m.Desc.Options().(*descriptorpb.MethodOptions)
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return "IdempotencyNoSideEffects"
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return "IdempotencyIdempotent"
	default:
		return ""
	}
}
