// SPDX-License-Identifier: Apache-2.0

// Client calls every method of greet.v1.GreetService over Connect, gRPC and
// gRPC-Web, each with Protobuf and JSON, prints one line per call and exits
// with 1 when an answer is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"google.golang.org/protobuf/types/known/durationpb"
)

func main() {
	addr := flag.String("addr", "http://localhost:8080", "`URL` of the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	wrong := callAll(ctx, *addr)
	stop()
	if wrong > 0 {
		fmt.Fprintf(os.Stderr, "%d calls went wrong\n", wrong)
		os.Exit(1)
	}
}

// A caller makes calls over one protocol with one codec. Its methods return a
// summary of the server's answer, and an error if the answer is wrong.
type caller struct {
	greetv1connect.GreetServiceClient
	protocol, codec string
}

// calls lists a method for each kind of call.
var calls = []struct {
	kind string
	call func(caller, context.Context) (string, error)
}{
	{"unary", caller.unary},
	{"server", caller.serverStream},
	{"client", caller.clientStream},
	{"bidi", caller.bidi},
	{"error", caller.invalid},
	{"late", caller.late},
}

// callAll makes every call over every protocol and codec, and returns the number
// of calls that failed.
func callAll(ctx context.Context, addr string) (wrong int) {
	protocols := []struct {
		name   string
		option connect.ClientOption
	}{
		{"connect", connect.WithClientOptions()}, // the default
		{"grpc", connect.WithGRPC()},
		{"grpcweb", connect.WithGRPCWeb()},
	}
	codecs := []struct {
		name   string
		option connect.ClientOption
	}{
		{"proto", connect.WithClientOptions()}, // the default
		{"json", connect.WithProtoJSON()},
	}
	httpClient := newHTTPClient()
	defer httpClient.CloseIdleConnections()
	for _, protocol := range protocols {
		for _, codec := range codecs {
			client := caller{
				GreetServiceClient: greetv1connect.NewGreetServiceClient(httpClient, addr, protocol.option, codec.option),
				protocol:           protocol.name,
				codec:              codec.name,
			}
			for _, c := range calls {
				callCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
				got, err := c.call(client, callCtx)
				cancel()
				verdict := "ok: " + got
				if err != nil {
					verdict = "WRONG: " + err.Error()
					wrong++
				}
				fmt.Printf("%-7s %-5s %-6s %s\n", protocol.name, codec.name, c.kind, verdict)
			}
		}
	}
	return wrong
}

// newHTTPClient returns a client that speaks HTTP/2 without TLS, as gRPC and
// bidirectional streams need it. With https:// URLs, http.DefaultClient does.
func newHTTPClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

// unary sends one message and gets one, with headers and a trailer.
func (c caller) unary(ctx context.Context) (string, error) {
	request := connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"})
	request.Header().Set("Greet-Language", "fr")
	response, err := c.Greet(ctx, request)
	if err != nil {
		return "", err
	}
	// The server returns the protocol of the call, so that this example can check it.
	protocol, contentType, _ := strings.Cut(response.Header().Get("Greet-Via"), " ")
	if protocol != c.protocol || strings.Contains(contentType, "json") != (c.codec == "json") {
		return "", fmt.Errorf("the call went over %q as %q", protocol, contentType)
	}
	got := fmt.Sprintf("%s (trailer %s)", response.Msg.GetGreeting(), response.Trailer().Get("Greet-Count"))
	return got, want(got, "Bonjour, Ada! (trailer 1)")
}

// serverStream sends one message and gets several, then a trailer.
func (c caller) serverStream(ctx context.Context) (string, error) {
	stream, err := c.Repeat(ctx, connect.NewRequest(&greetv1.RepeatRequest{Name: "Ada", Times: 3}))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var greetings []string
	for stream.Receive() {
		greetings = append(greetings, stream.Msg().GetGreeting())
	}
	if err := stream.Err(); err != nil {
		return "", err
	}
	got := fmt.Sprintf("%s (trailer %s)", strings.Join(greetings, " "), stream.ResponseTrailer().Get("Greet-Count"))
	return got, want(got, "Hello, Ada! Hello, Ada! Hello, Ada! (trailer 3)")
}

// clientStream sends several messages and gets one.
func (c caller) clientStream(ctx context.Context) (string, error) {
	stream := c.GreetAll(ctx)
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		if err := stream.Send(&greetv1.GreetRequest{Name: name}); err != nil {
			if errors.Is(err, io.EOF) {
				break // the server ended the call: CloseAndReceive returns the reason
			}
			return "", err
		}
	}
	response, err := stream.CloseAndReceive()
	if err != nil {
		return "", err
	}
	return response.Msg.GetGreeting(), want(response.Msg.GetGreeting(), "Hello, Ada and Grace and Barbara!")
}

// bidi sends each message after the answer to the one before.
func (c caller) bidi(ctx context.Context) (string, error) {
	stream := c.Chat(ctx)
	defer stream.CloseResponse()
	var greetings []string
	for _, name := range []string{"Ada", "Grace"} {
		if err := stream.Send(&greetv1.GreetRequest{Name: name}); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		response, err := stream.Receive()
		if err != nil {
			return "", err
		}
		greetings = append(greetings, response.GetGreeting())
	}
	if err := stream.CloseRequest(); err != nil {
		return "", err
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("receiving after the last message: got %v, want %v", err, io.EOF)
	}
	got := strings.Join(greetings, " ")
	return got, want(got, "Hello, Ada! Hello, Grace!")
}

// invalid sends a request that the server refuses, and reads the error's
// code, message and detail.
func (c caller) invalid(ctx context.Context) (string, error) {
	_, err := c.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{}))
	connectErr, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return "", fmt.Errorf("got error %v, want a *connect.Error", err)
	}
	got := connectErr.Error()
	for _, detail := range connectErr.Details() {
		value, err := detail.Value()
		if err != nil {
			return "", err
		}
		if bad, ok := value.(*greetv1.BadField); ok {
			got += fmt.Sprintf(" (detail: %s)", bad.GetField())
		}
	}
	return got, want(got, "invalid_argument: reading name: want a name that is not empty (detail: name)")
}

// late makes a call with a deadline that is too short: the second greeting would
// come after an hour.
func (c caller) late(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	stream, err := c.Repeat(ctx, connect.NewRequest(&greetv1.RepeatRequest{
		Name:  "Ada",
		Times: 2,
		Pause: durationpb.New(time.Hour),
	}))
	if err == nil {
		defer stream.Close()
		for stream.Receive() {
		}
		err = stream.Err()
	}
	got := connect.CodeOf(err).String()
	return got, want(got, connect.CodeDeadlineExceeded.String())
}

func want(got, want string) error {
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
