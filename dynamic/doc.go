// SPDX-License-Identifier: Apache-2.0

// Package dynamic makes clients and handlers for messages whose types a program gets only
// at run time: from a set of descriptors, from a server's reflection, or from the
// descriptors that are linked into the program.
//
// A [Schema] holds descriptors: [LoadSet] reads the file that protoc and buf write,
// [Reflect] asks a server. [NewClient] and [NewHandler] take one of its methods;
// [WithMethod] makes the typed constructors of package connect take messages of the
// type [dynamicpb.Message]. All protocols, codecs and kinds of procedures work as
// with generated code, and so do interceptors, limits and HTTP GET.
//
// Messages keep the fields that the schema does not know. JSON with
// google.protobuf.Any, and extensions, are resolved with the types of the method's
// files and with those that are linked into the program: see [WithTypes].
//
// The package answers the connect-go threads #312 and #523 (dynamic types) and
// #404 (calls without generated code).
package dynamic

import "google.golang.org/protobuf/types/dynamicpb"

// Message is a message whose type is known at run time. Make one with
// [dynamicpb.NewMessage] of a method's Input or Output.
type Message = dynamicpb.Message
