// SPDX-License-Identifier: Apache-2.0

// The server: services of grpc-go's generated code as an http.Handler.

package grpcadapter

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
	"google.golang.org/grpc"
)

// A Server is a [grpc.ServiceRegistrar] that serves its services with the library:
// in the Connect, gRPC and gRPC-Web protocols, with Protobuf and JSON, and with
// everything that its [connect.HandlerOption]s add. Register services as on a
// grpc.Server, then use the Server as an [http.Handler]. It is safe for concurrent
// use.
type Server struct {
	options []connect.HandlerOption
	unary   []grpc.UnaryServerInterceptor
	stream  []grpc.StreamServerInterceptor

	mu         sync.Mutex
	services   map[string]grpc.ServiceInfo
	procedures []*connect.Handler

	begin   sync.Once
	handler http.Handler // of all procedures; set by begin
}

// A ServerOption configures a [Server].
type ServerOption func(*Server)

// WithHandlerOptions adds options for the handlers of all procedures, such as
// limits, interceptors and compressions of the library. The library's interceptors
// run outside of grpc-go's. They see each message as a proto.Message: the message
// of the generated type is its ProtoReflect().Interface(). [connect.WithSchema],
// [connect.WithIdempotency] and [connect.WithRequestInitializer] have no effect:
// the Server sets them by the schema.
func WithHandlerOptions(options ...connect.HandlerOption) ServerOption {
	return func(s *Server) { s.options = append(s.options, options...) }
}

// WithUnaryInterceptors adds interceptors of grpc-go around unary calls. The first
// one is outermost, as in grpc.ChainUnaryInterceptor.
func WithUnaryInterceptors(interceptors ...grpc.UnaryServerInterceptor) ServerOption {
	return func(s *Server) { s.unary = append(s.unary, interceptors...) }
}

// WithStreamInterceptors adds interceptors of grpc-go around streams. The first one
// is outermost, as in grpc.ChainStreamInterceptor.
func WithStreamInterceptors(interceptors ...grpc.StreamServerInterceptor) ServerOption {
	return func(s *Server) { s.stream = append(s.stream, interceptors...) }
}

// NewServer returns a server without services.
func NewServer(options ...ServerOption) *Server {
	s := &Server{services: make(map[string]grpc.ServiceInfo)}
	for _, option := range options {
		if option == nil {
			panic("grpcadapter: NewServer: an option is nil")
		}
		option(s)
	}
	return s
}

// RegisterService adds a service: generated functions such as RegisterGreeterServer
// call it. It panics if impl does not have the service's methods, if the service is
// registered already, or after the first call was served, as a grpc.Server ends the
// program then.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if impl != nil && desc.HandlerType != nil {
		want := reflect.TypeOf(desc.HandlerType).Elem()
		if got := reflect.TypeOf(impl); !got.Implements(want) {
			panic(fmt.Sprintf("grpcadapter: register %s: %v does not implement %v", desc.ServiceName, got, want))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handler != nil {
		panic(fmt.Sprintf("grpcadapter: register %s: the server serves already: register all services before", desc.ServiceName))
	}
	if _, ok := s.services[desc.ServiceName]; ok {
		panic(fmt.Sprintf("grpcadapter: register %s: the service is registered already", desc.ServiceName))
	}
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for _, m := range desc.Methods {
		s.procedures = append(s.procedures, s.newUnary(desc, m, impl))
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	for _, m := range desc.Streams {
		s.procedures = append(s.procedures, s.newStream(desc, m, impl))
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.StreamName, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams})
	}
	s.services[desc.ServiceName] = info
}

// GetServiceInfo returns the registered services by their names: packages such as
// google.golang.org/grpc/reflection ask for them.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	services := maps.Clone(s.services)
	for name, info := range services {
		info.Methods = slices.Clone(info.Methods)
		services[name] = info
	}
	return services
}

// start makes the handler of all procedures, at the first call.
func (s *Server) start() http.Handler {
	s.begin.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handler = connect.NewServiceHandler(s.procedures, s.options...)
	})
	return s.handler
}

// ServeHTTP serves one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.start().ServeHTTP(w, r)
}

var _ direct.Handler = (*Server)(nil)

// ServeDirect is ServeHTTP for HTTP engines that serve a call without an
// [http.Request], such as the library's package h2. It does nothing and returns
// false if self is not s, or if the library cannot serve the call so. It is exported
// because engines look for the method of a handler by this name: without it, all
// calls to a Server would take the slower way. Programs have no use for it.
func (s *Server) ServeDirect(self http.Handler, path string, call http.ResponseWriter) bool {
	if self != http.Handler(s) {
		return false
	}
	next, ok := s.start().(direct.Handler)
	return ok && next.ServeDirect(next, path, call)
}

// chainUnary returns one interceptor for all, nil for none.
func (s *Server) chainUnary() grpc.UnaryServerInterceptor {
	if len(s.unary) == 0 {
		return nil
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for _, interceptor := range slices.Backward(s.unary) {
			next := handler
			handler = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

// chainStream returns a handler with all interceptors around it.
func (s *Server) chainStream(info *grpc.StreamServerInfo, handler grpc.StreamHandler) grpc.StreamHandler {
	for _, interceptor := range slices.Backward(s.stream) {
		next := handler
		handler = func(impl any, stream grpc.ServerStream) error { return interceptor(impl, stream, info, next) }
	}
	return handler
}
