// SPDX-License-Identifier: Apache-2.0

// A generated file: its place, the text above its services, and its order.

package main

import (
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field numbers of google.protobuf.FileDescriptorProto. The paths of the comments on these declarations consist of them.
const (
	packageField = 2
	syntaxField  = 12
	editionField = 14
)

// A file is the code for the services of one schema.
type file struct {
	schema      *protogen.File
	options     options
	name        string // of the file, with slashes
	importPath  protogen.GoImportPath
	packageName string
	imports     *imports
	services    []service
}

// newFile sets the place of the file for a schema, and claims its names. Files are all schemas in the plugin's request.
func newFile(schema *protogen.File, options options, files []*protogen.File, packages map[protogen.GoImportPath]string) *file {
	f := &file{
		schema:      schema,
		options:     options,
		name:        schema.GeneratedFilenamePrefix + ".connect.go",
		importPath:  schema.GoImportPath,
		packageName: string(schema.GoPackageName),
	}
	if options.packageSuffix != "" {
		f.packageName += options.packageSuffix
		f.name = path.Join(path.Dir(f.name), f.packageName, path.Base(f.name))
		f.importPath = protogen.GoImportPath(path.Join(string(schema.GoImportPath), f.packageName))
	}
	taken := newFileScope(options)
	for _, other := range files {
		if other.GoImportPath == f.importPath {
			taken.claimFile(other)
		}
	}
	f.imports = newImports(f.importPath, options.runtimePackage, packages, taken)
	for _, other := range claimOrder(files, schema.GoImportPath) {
		services := newServices(taken, options, other.Services)
		if other == schema {
			f.services = services
		}
	}
	return f
}

// claimOrder returns the files of one Go package in the order in which their services claim names: a file after those
// that it imports, and else by path. So a file has the same names in every run that generates the same files, and no
// file takes a name from one that it imports, whose own run may lack it. A path of imports between two files of a
// package does not lead through other packages, because Go has no cycles of imports.
func claimOrder(files []*protogen.File, importPath protogen.GoImportPath) []*protogen.File {
	var rest, ordered []*protogen.File
	waiting := map[string]bool{}
	for _, file := range files {
		if file.GoImportPath == importPath {
			rest = append(rest, file)
			waiting[file.Desc.Path()] = true
		}
	}
	slices.SortFunc(rest, func(a, b *protogen.File) int { return strings.Compare(a.Desc.Path(), b.Desc.Path()) })
	for len(rest) > 0 {
		next := max(0, slices.IndexFunc(rest, func(file *protogen.File) bool {
			return !slices.ContainsFunc(file.Proto.GetDependency(), func(path string) bool { return waiting[path] })
		}))
		ordered = append(ordered, rest[next])
		delete(waiting, rest[next].Desc.Path())
		rest = slices.Delete(rest, next, next+1)
	}
	return ordered
}

// generate writes the file. It writes the services first, because they determine the imports.
func (f *file) generate(plugin *protogen.Plugin) {
	out := plugin.NewGeneratedFile(f.name, f.importPath)
	body := newWriter().with(vars{"Descriptor": "", "Unknown": f.unknownHandler()})
	f.imports.use("net/http")
	f.imports.link(f.schema.GoImportPath)
	if f.hasMethods() {
		f.imports.use("context", "errors", "strings")
		f.imports.use(f.iteratorImports()...)
		body = body.with(vars{"Descriptor": f.imports.qualify(f.schema.GoDescriptorIdent)})
	}
	for _, s := range f.services {
		f.writeService(body.with(s.names), s)
		f.annotate(out, s)
	}

	head := newWriter().with(vars{"package": f.packageName, "source": f.schema.Desc.Path()})
	f.writePreamble(head)
	f.imports.write(head)
	f.writeConstants(head)
	out.Write(head.out.Bytes())
	out.Write(body.out.Bytes())
}

// ownRuntime reports whether the code is for this module's runtime, which has functions that connect-go lacks.
func (f *file) ownRuntime() bool { return f.options.runtimePackage == defaultRuntime }

// unknownHandler returns the expression for the handler of procedures that a service does not have.
func (f *file) unknownHandler() string {
	if f.ownRuntime() {
		return "connect.NewUnknownProcedureHandler(opts...)"
	}
	return "http.NotFoundHandler()"
}

// iteratorImports returns the packages that only iterators need.
func (f *file) iteratorImports() []string {
	if !f.options.iterators {
		return nil
	}
	needs := map[string]bool{}
	for _, s := range f.services {
		for _, m := range s.methods {
			clients, servers := m.Desc.IsStreamingClient(), m.Desc.IsStreamingServer()
			needs["io"] = needs["io"] || clients
			needs["iter"] = needs["iter"] || clients || servers
		}
	}
	return slices.DeleteFunc([]string{"io", "iter"}, func(name string) bool { return !needs[name] })
}

func (f *file) hasMethods() bool {
	for _, s := range f.services {
		if len(s.methods) > 0 {
			return true
		}
	}
	return false
}

// writePreamble writes the text before the imports. Comments on the schema's syntax, usually a licence, stay on top.
// Comments on its package become the documentation of the Go package, as in the code of protoc-gen-go.
func (f *file) writePreamble(w *writer) {
	locations := f.schema.Desc.SourceLocations()
	for _, field := range []int32{syntaxField, editionField} {
		w.floatAll(locations.ByPath(protoreflect.SourcePath{field}), true)
	}

	w.code("// Code generated by " + pluginName + ". DO NOT EDIT.")
	w.code("//")
	w.code("// Source: $source")
	if f.schema.Proto.GetOptions().GetDeprecated() {
		w.code("//")
		w.code("// The schema marks this file as deprecated.")
	}
	w.code("")

	location := locations.ByPath(protoreflect.SourcePath{packageField})
	w.floatAll(location, false)
	w.doc(new(doc).
		quote(protogen.Comments(location.LeadingComments)).
		quote(protogen.Comments(location.TrailingComments)))
	w.code("package $package")
	w.code("")
}

// writeConstants writes the version guard and the names.
func (f *file) writeConstants(w *writer) {
	w.code("")
	w.say(`This line compiles if the runtime has everything that this file calls. If it does not, update the runtime,
		or generate the file with an older ` + pluginName + `.`)
	w.code("const _ = connect.IsAtLeastVersion1_13_0")
	w.code("")

	w.say(`Full names of the services, as reflection and health checks know them.`)
	w.code("const (")
	for _, s := range f.services {
		inner := w.with(s.names)
		inner.say("$Name is the full name of the service $ProtoService.")
		inner.code("$Name = \"$FullService\"")
	}
	w.code(")")
	w.code("")

	if !f.hasMethods() {
		return
	}
	w.say(`Procedures of the services: the paths under which the methods are served, below the base URL, and the values
		of connect.Spec.Procedure. The full name of a method, as reflection knows it, has a dot in place of the second
		slash and no first one.`)
	w.code("const (")
	for _, s := range f.services {
		for _, m := range s.methods {
			inner := w.with(s.names).with(m.names)
			inner.say("$Procedure is the procedure of the method $ProtoMethod of $ProtoService.")
			inner.code("$Procedure = \"/$FullService/$ProtoMethod\"")
		}
	}
	w.code(")")
	w.code("")
}

// writeService writes the code of one service.
func (f *file) writeService(w *writer, s service) {
	f.writeClientInterface(w, s)
	f.writeClientConstructor(w, s)
	f.writeClient(w, s)
	f.writeHandlerInterface(w, s)
	f.writeHandlerConstructor(w, s)
	f.writeUnimplemented(w, s)
	if f.options.register {
		f.writeRegister(w, s)
	}
	if f.options.fakes {
		f.writeFakes(w, s)
	}
}

// annotate adds the places of the interfaces in the schema, for protogen's option annotate_code.
func (f *file) annotate(out *protogen.GeneratedFile, s service) {
	for _, symbol := range []string{s.names["Client"], s.names["Handler"]} {
		out.AnnotateSymbol(symbol, protogen.Annotation{Location: s.Location})
		for _, m := range s.methods {
			out.AnnotateSymbol(symbol+"."+m.names["Method"], protogen.Annotation{Location: m.Location})
		}
	}
}

// scoped returns the writer for a method's texts.
func (f *file) scoped(w *writer, m method) *writer {
	return w.with(m.names).with(vars{
		"In":  f.imports.qualify(m.Input.GoIdent),
		"Out": f.imports.qualify(m.Output.GoIdent),
	})
}
