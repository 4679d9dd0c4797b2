// SPDX-License-Identifier: Apache-2.0

// The names that protoc-gen-go declares at package level for a schema: they are taken where services share its package.

package main

import (
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/gofeaturespb"
)

// claimFile takes the names that protoc-gen-go declares for a schema. Its names without export for the file itself
// end in words like _rawDesc, as no name of a service or package does.
func (s scope) claimFile(file *protogen.File) {
	s[file.GoDescriptorIdent.GoName] = true
	s.claimEnums(file.Enums)
	s.claimExtensions(file.Extensions)
	s.claimMessages(file.Messages)
}

// claimMessages takes the names for messages, and for what is declared in them.
func (s scope) claimMessages(messages []*protogen.Message) {
	for _, message := range messages {
		if message.Desc.IsMapEntry() { // has no type in Go
			continue
		}
		name := message.GoIdent.GoName
		s[name] = true
		if message.APILevel != gofeaturespb.GoFeatures_API_OPEN {
			s[name+"_builder"] = true
		}
		for _, field := range message.Fields {
			if field.Desc.HasDefault() {
				s["Default_"+name+"_"+field.GoName] = true
			}
		}
		for _, oneof := range message.Oneofs {
			if !oneof.Desc.IsSynthetic() {
				s.claimOneof(message, oneof)
			}
		}
		s.claimEnums(message.Enums)
		s.claimExtensions(message.Extensions)
		s.claimMessages(message.Messages)
	}
}

// claimOneof takes the names for a oneof: its interface, and a type for each field. The opaque API declares these types
// without export, and constants for the fields. The hybrid API does both, by a build tag.
func (s scope) claimOneof(message *protogen.Message, oneof *protogen.Oneof) {
	s["is"+oneof.GoIdent.GoName] = true
	if message.APILevel != gofeaturespb.GoFeatures_API_OPEN {
		s["case_"+oneof.GoIdent.GoName] = true
		s[oneof.GoIdent.GoName+"_not_set_case"] = true
	}
	for _, field := range oneof.Fields {
		if message.APILevel != gofeaturespb.GoFeatures_API_OPAQUE {
			s[field.GoIdent.GoName] = true
		}
		if message.APILevel != gofeaturespb.GoFeatures_API_OPEN {
			s[lowerFirst(field.GoIdent.GoName)] = true
			s[message.GoIdent.GoName+"_"+field.GoName+"_case"] = true
		}
	}
}

// claimEnums takes the names for enums: their types and maps, and the constants of their values.
func (s scope) claimEnums(enums []*protogen.Enum) {
	for _, enum := range enums {
		name := enum.GoIdent.GoName
		s[name], s[name+"_name"], s[name+"_value"] = true, true, true
		for _, value := range enum.Values {
			s[value.GoIdent.GoName] = true
			if alias := value.PrefixedAlias.GoName; alias != "" { // the schema asks for both names of a value
				s[alias] = true
			}
		}
	}
}

// claimExtensions takes the names for extensions.
func (s scope) claimExtensions(extensions []*protogen.Extension) {
	for _, extension := range extensions {
		s["E_"+extension.GoIdent.GoName] = true
	}
}
