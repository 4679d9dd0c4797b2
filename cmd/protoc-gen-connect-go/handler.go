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
		f.writeHandlers(w, s, "", "),")
		w.code("}, opts...)\n}\n")
		return
	}
	w.code("handlers := map[string]http.Handler{")
	f.writeHandlers(w, s, "$Procedure: ", "),")
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

// writeHandlers writes the handler of each method, with texts before and at its end.
func (f *file) writeHandlers(w *writer, s service, before, end string) {
	for _, m := range s.methods {
		inner, shape := f.scoped(w, m), f.shapeOf(m)
		serve := shape.serve
		if serve == "" {
			serve = "svc.$Method"
		}
		inner.code(before + "connect." + shape.newHandler + `(
			$Procedure,
			` + serve + ",")
		inner.methodOptions(m)
		inner.code(`connect.WithHandlerOptions(opts...),
			` + end)
	}
}

// writeRegister writes the function of the option register.
func (f *file) writeRegister(w *writer, s service) {
	w.doc(new(doc).
		say(w.expand(`$Register mounts svc on router: each procedure under a pattern of its own, which is its path. The
			router may add a prefix. It answers other paths itself.`)).
		deprecate(s.deprecation()))
	w.code(`func $Register(router interface {
			Handle(pattern string, handler http.Handler)
		}, svc $Handler, opts ...connect.HandlerOption) {`)
	if len(s.methods) > 0 {
		w.code(`methods := $Descriptor.Services().ByName("$ProtoService").Methods()`)
	}
	f.writeHandlers(w, s, "router.Handle($Procedure, ", "))")
	w.code("}\n")
}

func (f *file) writeUnimplemented(w *writer, s service) {
	w.say(`$Unimplemented implements $Handler with methods that return errors of connect.CodeUnimplemented. Embed it, and
		a server compiles when the schema gains a method.`)
	w.code("type $Unimplemented struct{}\n")
	for _, m := range s.methods {
		inner := f.scoped(w, m)
		inner.say("$Method returns an error: it is not implemented.")
		inner.code("func ($Unimplemented) $Method" + f.shapeOf(m).serveSignature + " {")
		inner.fail(f.shapeOf(m).serveFails, "$FullMethod is not implemented")
		inner.code("}\n")
	}
}
