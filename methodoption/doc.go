// SPDX-License-Identifier: Apache-2.0

// Package methodoption has the option of Protobuf methods that this library reads: the
// deadlines of calls. A schema imports it and sets it:
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
// The schema is in the folder proto of this package: give that folder to protoc with
// -I, or copy it. Generated code passes the method's descriptor to
// [github.com/seed-b7c59c10/connect.WithSchema], and nothing else is needed: each
// client and handler takes its default and its longest time from there, unless
// [github.com/seed-b7c59c10/connect.WithDefaultTimeout] or
// [github.com/seed-b7c59c10/connect.WithMaxTimeout] sets another.
//
// Programs need this package only to read the option themselves, or because the
// generated code of such a schema imports it.
package methodoption
