// SPDX-License-Identifier: Apache-2.0

// Access: which callers a procedure has, by table and by the schema.

package auth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/methodoption"
)

// Access is which callers may call a procedure. The zero value is for all callers with
// valid credentials.
type Access struct {
	// Public procedures are served without a look at credentials, also at wrong ones: health
	// checks, sign in, the refresh of a token. Their handlers have no identity.
	Public bool
	// Optional procedures are served also to callers without credentials, whose handlers
	// have no identity. Credentials that are there must be valid, and their caller must have
	// the scopes and roles.
	Optional bool
	// Deny refuses all callers.
	Deny bool
	// Scopes are what the credentials need, all of them.
	Scopes []string
	// Roles are what the caller needs one of. If there are none, none is needed.
	Roles []string
	// Subjects are the callers, if there are any: one of them.
	Subjects []string
}

// check returns an error for an Access that contradicts itself.
func (a Access) check() error {
	n := 0
	for _, set := range []bool{a.Public, a.Optional, a.Deny} {
		if set {
			n++
		}
	}
	needs := len(a.Scopes)+len(a.Roles)+len(a.Subjects) > 0
	switch {
	case n > 1:
		return fmt.Errorf("only one of public, optional and deny may be set")
	case needs && (a.Public || a.Deny):
		return fmt.Errorf("scopes, roles and subjects have no meaning for a procedure that is public or denied")
	case slices.Contains(a.Scopes, "") || slices.Contains(a.Roles, "") || slices.Contains(a.Subjects, ""):
		return fmt.Errorf("a scope, role or subject is empty")
	}
	return nil
}

// Table sets the access of procedures by name. A key is
//   - a procedure, such as "/acme.user.v1.UserService/Delete", or its generated constant,
//   - a service, such as "/acme.user.v1.UserService/",
//   - or "/" for all that nothing else names, as [Default].
//
// The longest key counts. What neither the table, [MethodOption] nor [Default] names is
// denied: so a new method is not open by oversight. Tables of several options are joined.
//
// A key of a method that its service does not have makes the constructor of the service's
// handler panic, if the handler has a schema, as generated ones have. [Guard.Check] also
// finds wrong names of services. Table panics if a key is not one of the three, is there
// twice, or has an Access that contradicts itself.
func Table(table map[string]Access) Option {
	for key, access := range table {
		check(isKey(key), `Table: %q is neither a procedure such as "/acme.v1.Service/Method" nor a service such as "/acme.v1.Service/" nor "/"`, key)
		err := access.check()
		check(err == nil, "Table: %q: %v", key, err)
	}
	return option(func(g *Guard) {
		if g.table == nil {
			g.table = make(map[string]Access)
		}
		for key, access := range table {
			_, twice := g.table[key]
			check(!twice, "Table: %q is in two tables", key)
			g.table[key] = access
		}
	})
}

// isKey reports whether s is a key of a table.
func isKey(s string) bool {
	if s == "/" {
		return true
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(s, "/"), "/")
	return strings.HasPrefix(s, "/") && ok && service != "" && !strings.Contains(method, "/") && !strings.ContainsAny(s, " \t*?")
}

// MethodOption sets the access of each procedure to the option in its schema, which is in
// package [github.com/seed-b7c59c10/connect/methodoption]:
//
//	import "seedb7c59c10/connect/v1/access.proto";
//
//	rpc Delete(DeleteRequest) returns (DeleteResponse) {
//	  option (seedb7c59c10.connect.v1.access) = { roles: "admin" };
//	}
//
// A procedure's own key in a [Table] has precedence over its option; the option has
// precedence over the keys of services, and [Default]. The constructor of a handler panics
// if the option contradicts itself, or if the handler has no schema. A guard with it
// is for handlers: [Guard.Handler] has no schema, and panics.
func MethodOption() Option { return option(func(g *Guard) { g.methodOption = true }) }

// Default sets the access of procedures that have no other. It is Access{Deny: true} for a
// guard with a [Table] or [MethodOption], and Access{}, all authenticated callers, for one
// without. The key "/" of a table is the same. It panics if access contradicts itself.
func Default(access Access) Option {
	err := access.check()
	check(err == nil, "Default: %v", err)
	return option(func(g *Guard) { g.fallback = &access })
}

// accessOf returns the access of a procedure. It panics if the program is wrong.
func (g *Guard) accessOf(spec connect.Spec) Access {
	method, _ := spec.Schema.(protoreflect.MethodDescriptor)
	g.checkService(method)
	if access, ok := g.table[spec.Procedure]; ok {
		return access
	}
	if g.methodOption {
		check(method != nil, "%s has no schema: MethodOption needs that of generated code, or connect.WithSchema before the guard", spec.Procedure)
		access, ok, err := optionOf(method)
		if err == nil {
			err = access.check()
		}
		check(err == nil, "the option access of %s: %v", spec.Procedure, err)
		if ok {
			return access
		}
	}
	return g.wide(spec.Procedure)
}

// wide returns the access of a procedure that has none of its own.
func (g *Guard) wide(procedure string) Access {
	if end := strings.LastIndexByte(procedure, '/'); end > 0 {
		if access, ok := g.table[procedure[:end+1]]; ok {
			return access
		}
	}
	if access, ok := g.table["/"]; ok {
		return access
	}
	if g.fallback != nil {
		return *g.fallback
	}
	return Access{Deny: g.table != nil || g.methodOption}
}

// checkService panics if the table has a method that the service of a method does not have.
func (g *Guard) checkService(method protoreflect.MethodDescriptor) {
	if method == nil {
		return
	}
	service, ok := method.Parent().(protoreflect.ServiceDescriptor)
	if !ok {
		return
	}
	prefix := "/" + string(service.FullName()) + "/"
	for key := range g.table {
		name, ok := strings.CutPrefix(key, prefix)
		check(!ok || name == "" || service.Methods().ByName(protoreflect.Name(name)) != nil,
			"Table: %q: %s has no method %s: it has %s", key, service.FullName(), name, methodsOf(service))
	}
}

func methodsOf(service protoreflect.ServiceDescriptor) string {
	var names []string
	for i := range service.Methods().Len() {
		names = append(names, string(service.Methods().Get(i).Name()))
	}
	return strings.Join(names, ", ")
}

// optionOf returns the access in a method's schema, and whether there is one. The schema may
// have been loaded at run time, with the option among the fields that are not known.
func optionOf(method protoreflect.MethodDescriptor) (Access, bool, error) {
	encoded, err := proto.Marshal(method.Options())
	if err != nil {
		return Access{}, false, fmt.Errorf("encoding the method's options: %w", err)
	}
	options := new(descriptorpb.MethodOptions)
	if err := proto.Unmarshal(encoded, options); err != nil {
		return Access{}, false, fmt.Errorf("reading the method's options: %w", err)
	}
	if !proto.HasExtension(options, methodoption.E_Access) {
		return Access{}, false, nil
	}
	a := proto.GetExtension(options, methodoption.E_Access).(*methodoption.Access)
	return Access{Public: a.GetPublic(), Optional: a.GetOptional(), Deny: a.GetDeny(), Scopes: a.GetScopes(), Roles: a.GetRoles()}, true, nil
}

// Check returns an error for each key of the guard's tables that names nothing in services:
// the values of generated constructors and of [connect.NewServiceHandler], before middleware
// is put around them. Call it when the program starts, with all of them.
func (g *Guard) Check(services ...http.Handler) error {
	known := map[string]bool{"/": true}
	for i, service := range services {
		handlers := connect.Procedures(service)
		if handlers == nil {
			return fmt.Errorf("auth: Check: handler %d is a %T, which lists no procedures: pass the value of a generated constructor", i+1, service)
		}
		for _, h := range handlers {
			procedure := h.Spec().Procedure
			known[procedure] = true
			known[procedure[:strings.LastIndexByte(procedure, '/')+1]] = true
		}
	}
	var wrong []string
	for key := range g.table {
		if !known[key] {
			wrong = append(wrong, fmt.Sprintf("%q", key))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("auth: Check: the table names what the server does not have: %s", strings.Join(wrong, ", "))
}

// permit returns an error if an identity does not have what an access asks for.
func (g *Guard) permit(identity Identity, request Request, access Access) error {
	for _, scope := range access.Scopes {
		if !identity.HasScope(scope) {
			err := denied("%s needs the scopes %q: the credentials do not have %q", request.Spec.Procedure, access.Scopes, scope)
			for _, a := range g.authenticators {
				if a.scheme == identity.Scheme && strings.EqualFold(a.challenge, "bearer") && isQuotable(strings.Join(access.Scopes, " ")) {
					// [RFC 6750, section 3.1]
					err.Meta().Set("Www-Authenticate", a.header(`error="insufficient_scope"`, "scope="+quote(strings.Join(access.Scopes, " "))))
				}
			}
			return err
		}
	}
	if len(access.Roles) > 0 && !slices.ContainsFunc(access.Roles, identity.HasRole) {
		return denied("%s needs one of the roles %q: the caller has none of them", request.Spec.Procedure, access.Roles)
	}
	if len(access.Subjects) > 0 && !slices.Contains(access.Subjects, identity.Subject) {
		return denied("%s is for other callers", request.Spec.Procedure)
	}
	return nil
}

// denied returns an error with CodePermissionDenied.
func denied(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodePermissionDenied, fmt.Errorf(format, args...))
}
