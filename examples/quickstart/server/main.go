// SPDX-License-Identifier: Apache-2.0

// Server serves greet.v1.GreetService over Connect, gRPC and gRPC-Web, on one
// port, with HTTP/1.1 and cleartext HTTP/2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`address` to listen on; port 0 chooses a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

// serve listens on addr until ctx ends, then lets running calls finish.
func serve(ctx context.Context, addr string) error {
	mux := http.NewServeMux()
	mux.Handle(greetv1connect.NewGreetServiceHandler(&greeter{}))

	// gRPC needs HTTP/2. Without TLS a server must turn it on.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           mux,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
	}

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}

// greeter implements greet.v1.GreetService.
type greeter struct{}

// Greet shows headers, trailers and an error with a detail.
func (*greeter) Greet(_ context.Context, request *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	if request.Msg.GetName() == "" {
		return nil, badField("name", "a name that is not empty")
	}
	hello := "Hello"
	if request.Header().Get("Greet-Language") == "fr" {
		hello = "Bonjour"
	}
	response := connect.NewResponse(greet(hello, request.Msg.GetName()))
	response.Header().Set("Greet-Via", request.Peer().Protocol+" "+request.Header().Get("Content-Type"))
	response.Trailer().Set("Greet-Count", "1")
	return response, nil
}

// Repeat shows a server stream that stops when the caller's deadline passes.
func (*greeter) Repeat(ctx context.Context, request *connect.Request[greetv1.RepeatRequest], stream *connect.ServerStream[greetv1.GreetResponse]) error {
	if times := request.Msg.GetTimes(); times < 1 || times > 10 {
		return badField("times", "a number from 1 to 10")
	}
	for i := range request.Msg.GetTimes() {
		if i > 0 {
			select {
			case <-time.After(request.Msg.GetPause().AsDuration()):
			case <-ctx.Done():
				return ctx.Err() // the client sees deadline_exceeded or canceled
			}
		}
		if err := stream.Send(greet("Hello", request.Msg.GetName())); err != nil {
			return err
		}
	}
	stream.ResponseTrailer().Set("Greet-Count", fmt.Sprint(request.Msg.GetTimes()))
	return nil
}

// GreetAll shows a client stream: it answers when the client has sent its last.
func (*greeter) GreetAll(_ context.Context, stream *connect.ClientStream[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	var names []string
	for stream.Receive() {
		names = append(names, stream.Msg().GetName())
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(greet("Hello", strings.Join(names, " and "))), nil
}

// Chat shows a bidirectional stream: one answer for each message, at once.
func (*greeter) Chat(_ context.Context, stream *connect.BidiStream[greetv1.GreetRequest, greetv1.GreetResponse]) error {
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(greet("Hello", request.GetName())); err != nil {
			return err
		}
	}
}

func greet(hello, name string) *greetv1.GreetResponse {
	return &greetv1.GreetResponse{Greeting: hello + ", " + name + "!"}
}

// badField returns an error that describes the fault twice: in its message for
// people, and in a detail for programs.
func badField(field, want string) error {
	err := connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("reading %s: want %s", field, want))
	if detail, detailErr := connect.NewErrorDetail(&greetv1.BadField{Field: field, Want: want}); detailErr == nil {
		err.AddDetail(detail)
	}
	return err
}
