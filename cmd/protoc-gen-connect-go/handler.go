// SPDX-License-Identifier: Apache-2.0

// The serving side of a service: an interface, the constructor of an http.Handler, and an implementation to embed.

package main

func (f *file) writeHandlerInterface(w *writer, s service) {
	w.doc(new(doc).
		say(w.expand("$Handler is what a server implements for the service $FullService.")).
		quote(s.Comments.Leading).
		quote(s.Comments.Trailing).
		deprecate(s.deprecation()))
	w.code("type $Handler interface {")
	f.writeMethods(w, s, func(shape shape) string { return shape.serveSignature })
	w.code("}\n")
}

func (f *file) writeHandlerConstructor(w *writer, s service) {
	w.doc(new(doc).
		say(w.expand(`$NewHandler returns an http.Handler that serves svc, and the path under which to mount it in an
			http.ServeMux.`)).
		say(`Unless options say otherwise, it speaks Connect, gRPC and gRPC-Web with binary Protobuf and JSON, and
			compresses with gzip for clients that accept it.`).
		deprecate(s.deprecation()))
	w.code("func $NewHandler(svc $Handler, opts ...connect.HandlerOption) (string, http.Handler) {")
	if len(s.methods) == 0 {
		w.code("return \"/\" + $Name + \"/\", $Unknown\n}\n")
		return
	}
	w.code(`methods := $Descriptor.Services().ByName("$ProtoService").Methods()`)
	if f.ownRuntime() {
		w.code(`return "/" + $Name + "/", connect.NewServiceHandler([]*connect.Handler{`)
		f.writeHandlers(w, s, "")
		w.code("}, opts...)\n}\n")
		return
	}
	w.code("handlers := map[string]http.Handler{")
	f.writeHandlers(w, s, "$Procedure: ")
	w.code(`}
		unknown := $Unknown
		return "/" + $Name + "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler, ok := handlers[r.URL.Path]
			if !ok {
				handler = unknown
			}
			handler.ServeHTTP(w, r)
		})
	}
	`)
}

// writeHandlers writes the handler of each method, with its key before it.
func (f *file) writeHandlers(w *writer, s service, key string) {
	for _, m := range s.methods {
		inner := f.scoped(w, m)
		inner.code(key + "connect." + f.shapeOf(m).newHandler + `(
			$Procedure,
			svc.$Method,`)
		inner.methodOptions(m)
		inner.code(`connect.WithHandlerOptions(opts...),
			),`)
	}
}

func (f *file) writeUnimplemented(w *writer, s service) {
	w.say(`$Unimplemented implements $Handler with methods that return errors of connect.CodeUnimplemented. Embed it, and
		a server compiles when the schema gains a method.`)
	w.code("type $Unimplemented struct{}\n")
	for _, m := range s.methods {
		inner := f.scoped(w, m)
		result := ""
		if !m.Desc.IsStreamingServer() {
			result = "nil, "
		}
		inner.say("$Method returns an error: it is not implemented.")
		inner.code("func ($Unimplemented) $Method" + f.shapeOf(m).serveSignature + " {")
		inner.code("return " + result + `connect.NewError(connect.CodeUnimplemented, errors.New("$FullMethod is not implemented"))`)
		inner.code("}\n")
	}
}
