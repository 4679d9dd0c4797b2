// SPDX-License-Identifier: Apache-2.0

// The calling side of a service: an interface, its constructor, and the struct behind it.

package main

func (f *file) writeClientInterface(w *writer, s service) {
	w.float(s.Comments.LeadingDetached...)
	w.doc(new(doc).
		say(w.expand("$Client calls the service $FullService.")).
		quote(s.Comments.Leading).
		quote(s.Comments.Trailing).
		deprecate(s.deprecation()))
	w.code("type $Client interface {")
	f.writeMethods(w, s, func(shape shape) string { return shape.callSignature })
	w.code("}\n")
}

func (f *file) writeClientConstructor(w *writer, s service) {
	w.doc(new(doc).
		say(w.expand(`$NewClient returns a client for the service $FullService, which calls the server at baseURL, such as
			https://api.example.com or https://example.com/rpc.`)).
		say(`Unless options say otherwise, it speaks the Connect protocol with binary Protobuf, accepts responses
			compressed with gzip, and does not compress requests. For gRPC or gRPC-Web give connect.WithGRPC() or
			connect.WithGRPCWeb().`).
		deprecate(s.deprecation()))
	w.code("func $NewClient(httpClient connect.HTTPClient, baseURL string, opts ...connect.ClientOption) $Client {")
	if len(s.methods) == 0 {
		w.code("return &$client{}\n}\n")
		return
	}
	w.code(`baseURL = strings.TrimRight(baseURL, "/")`)
	w.code(`methods := $Descriptor.Services().ByName("$ProtoService").Methods()`)
	w.code("return &$client{")
	for _, m := range s.methods {
		inner := f.scoped(w, m)
		inner.code(`$field: connect.NewClient[$In, $Out](
			httpClient,
			baseURL+$Procedure,`)
		inner.methodOptions(m)
		inner.code(`connect.WithClientOptions(opts...),
			),`)
	}
	w.code("}\n}\n")
}

func (f *file) writeClient(w *writer, s service) {
	w.say("$client implements $Client: one client of the runtime per method.")
	w.code("type $client struct {")
	for _, m := range s.methods {
		f.scoped(w, m).code("$field *connect.Client[$In, $Out]")
	}
	w.code("}\n")
	for _, m := range s.methods {
		inner := f.scoped(w, m)
		shape := f.shapeOf(m)
		inner.say("$Method calls $FullMethod.")
		inner.code("func (c *$client) $Method" + shape.callSignature + " {")
		inner.code(shape.callBody)
		inner.code("}\n")
	}
}

// writeMethods writes the methods of an interface, with empty lines around a method that has a comment.
func (f *file) writeMethods(w *writer, s service, signature func(shape) string) {
	apart := false
	for n, m := range s.methods {
		inner := f.scoped(w, m)
		comment := new(doc).
			quote(m.Comments.Leading).
			quote(m.Comments.Trailing).
			deprecate(m.deprecation())
		commented := len(comment.lines)+len(m.Comments.LeadingDetached) > 0
		if n > 0 && (commented || apart) {
			inner.code("")
		}
		inner.float(m.Comments.LeadingDetached...)
		inner.doc(comment)
		inner.code("$Method" + signature(f.shapeOf(m)))
		apart = commented
	}
}

// methodOptions writes the options of a method that follow from the schema, for both sides.
func (w *writer) methodOptions(m method) {
	w.code(`connect.WithSchema(methods.ByName("$ProtoMethod")),`)
	if level := m.idempotency(); level != "" {
		w.code("connect.WithIdempotency(connect." + level + "),")
	}
}
