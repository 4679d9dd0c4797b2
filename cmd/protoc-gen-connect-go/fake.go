// SPDX-License-Identifier: Apache-2.0

// The fakes of a service: a client and a handler for tests, whose methods call functions that the test sets.

package main

func (f *file) writeFakes(w *writer, s service) {
	w.say("$FakeClient is a $Client for tests. Each method calls the function of its name, which the test sets.")
	w.code("type $FakeClient struct {")
	f.writeFakeFields(w, s, func(shape shape) string { return shape.callSignature })
	w.code("}\n")
	for _, m := range s.methods {
		inner, shape := f.scoped(w, m), f.shapeOf(m)
		inner.say("$Method calls $Func.")
		inner.code("func (f *$FakeClient) $Method" + shape.callSignature + " {\nif f.$Func == nil {")
		inner.fail(shape.callFails, "$FakeClient.$Func is nil: set it before the call")
		inner.code("}\nreturn f.$Func(" + shape.callArgs + ")\n}\n")
	}

	w.say("$FakeHandler is a $Handler for tests. Each method calls the function of its name, which the test sets.")
	w.code("type $FakeHandler struct {")
	f.writeFakeFields(w, s, func(shape shape) string { return shape.serveSignature })
	w.code("}\n")
	for _, m := range s.methods {
		inner, shape := f.scoped(w, m), f.shapeOf(m)
		inner.say("$Method calls $Func.")
		inner.code("func (f *$FakeHandler) $Method" + shape.serveSignature + " {\nif f.$Func == nil {")
		inner.fail(shape.serveFails, "$FakeHandler.$Func is nil: set it before the call")
		inner.code("}\nreturn f.$Func(" + shape.serveArgs + ")\n}\n")
	}
}

// writeFakeFields writes the fields of a fake.
func (f *file) writeFakeFields(w *writer, s service, signature func(shape) string) {
	for _, m := range s.methods {
		f.scoped(w, m).code("$Func func" + signature(f.shapeOf(m)))
	}
}

// fail writes a statement that ends a method with an error of CodeUnimplemented.
func (w *writer) fail(statement, text string) {
	w.with(vars{"Err": w.expand(`connect.NewError(connect.CodeUnimplemented, errors.New("` + text + `"))`)}).code(statement)
}
