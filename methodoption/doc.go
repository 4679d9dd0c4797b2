// SPDX-License-Identifier: Apache-2.0

// Package methodoption has the options of Protobuf methods that this module reads: the
// deadlines of calls (timeouts), and which callers a method has (access). A schema
// imports an option's file and sets it:
//
//	import "seedb7c59c10/connect/v1/timeouts.proto";
//
//	service ReportService {
//	  rpc Render(RenderRequest) returns (RenderResponse) {
//	    option (seedb7c59c10.connect.v1.timeouts) = {
//	      default: { seconds: 10 }
//	      max: { seconds: 60 }
//	    };
//	  }
//	}
//
// The files are in the folder proto of this package: give that folder to protoc with
// -I. With buf, copy what is in it next to your schemas, and name the copy in
// exclude_paths of buf.gen.yaml: code of it that is generated a second time ends a
// program that links both.
//
// Generated code passes the method's descriptor to
// [github.com/seed-b7c59c10/connect.WithSchema], and timeouts needs nothing else: each
// client and handler takes its default and its longest time from there, unless
// [github.com/seed-b7c59c10/connect.WithDefaultTimeout] or
// [github.com/seed-b7c59c10/connect.WithMaxTimeout] sets another. For access, give
// [github.com/seed-b7c59c10/connect/auth.MethodOption] to a guard: nothing else reads it.
//
// Programs need this package only to read the options themselves, or because the
// generated code of such a schema imports it.
package methodoption
