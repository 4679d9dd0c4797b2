// SPDX-License-Identifier: Apache-2.0

// The option register: one pattern per procedure, on the routers that programs use.

package gentest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1all"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1connect"
)

// allServer is wrappedServer with all methods, for kindsv1all, whose interface is the same.
type allServer struct {
	kindsv1connect.KindsServiceHandler
}

// routers mount a service below a prefix, which may be empty.
var routers = map[string]func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler{
	"ServeMux": func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler {
		router := http.NewServeMux()
		mount(connect.MountFunc(func(pattern string, handler http.Handler) { router.Handle(prefix+pattern, handler) }))
		return router
	},
	"chi": func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler {
		router := chi.NewRouter()
		router.Route(prefix+"/", func(inner chi.Router) { mount(inner) })
		return router
	},
	"gorilla": func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler {
		router := mux.NewRouter()
		inner := router
		if prefix != "" {
			inner = router.PathPrefix(prefix).Subrouter()
		}
		mount(connect.MountFunc(func(pattern string, handler http.Handler) { inner.Handle(pattern, handler) }))
		return router
	},
	"echo": func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler {
		router := echo.New()
		inner := router.Group(prefix)
		mount(connect.MountFunc(func(pattern string, handler http.Handler) { inner.Any(pattern, echo.WrapHandler(handler)) }))
		return router
	},
	"gin": func(prefix string, mount func(interface{ Handle(string, http.Handler) })) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		inner := router.Group(prefix)
		mount(connect.MountFunc(func(pattern string, handler http.Handler) { inner.Any(pattern, gin.WrapH(handler)) }))
		return router
	},
}

func TestRouters(t *testing.T) {
	for name, router := range routers {
		for _, prefix := range []string{"", "/api"} {
			t.Run(name+prefix, func(t *testing.T) {
				handler := router(prefix, func(r interface{ Handle(string, http.Handler) }) {
					kindsv1all.RegisterKindsService(r, allServer{wrappedServer{}})
				})
				server := httptest.NewUnstartedServer(handler)
				server.EnableHTTP2 = true
				server.StartTLS()
				t.Cleanup(server.Close)
				for _, protocol := range protocols {
					t.Run(protocol, func(t *testing.T) {
						testCalls(t, styles[0], styles[0].dial(server.Client(), server.URL+prefix, protocol))
					})
				}
				// Double has no side effects: GET reaches it through the router, too.
				res, err := server.Client().Get(server.URL + prefix + kindsv1all.KindsServiceDoubleProcedure + "?connect=v1&encoding=json&message=%7B%7D")
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("GET: got %s", res.Status)
				}
			})
		}
	}
}

// TestRegisterPatterns: each procedure has its pattern, and only those are mounted.
func TestRegisterPatterns(t *testing.T) {
	var got []string
	kindsv1all.RegisterKindsService(connect.MountFunc(func(pattern string, handler http.Handler) {
		if handler == nil {
			t.Errorf("%s: got no handler", pattern)
		}
		got = append(got, strings.TrimPrefix(pattern, "/"+kindsv1all.KindsServiceName+"/"))
	}), allServer{wrappedServer{}})
	if want := []string{"Double", "Sum", "Count", "Add", "Missing", "MissingStream"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
