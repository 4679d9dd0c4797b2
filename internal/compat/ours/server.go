// SPDX-License-Identifier: Apache-2.0

// Package ours serves and calls with github.com/seed-b7c59c10/connect, as the values of
// package script describe it. Package theirs is a generated copy for the reference.
package ours

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
)

// Message is the request and the response of every method. The text of a request is the
// script that the handler follows; that of a response is the answer.
type Message = sourcecontextpb.SourceContext

// Serve returns a server with one method for each kind, a method Get without side
// effects, and the path /errorwriter. There an ErrorWriter answers each request with
// the error of the script in the header "Script". The options in first come before
// those of config.
func Serve(config script.Server, first ...connect.HandlerOption) http.Handler {
	options := serverOptions(config, first)
	mux := http.NewServeMux()
	handle := func(name string, build func(string, ...connect.HandlerOption) *connect.Handler, more ...connect.HandlerOption) {
		procedure := script.Service + name
		mux.Handle(procedure, build(procedure, append(more, options...)...))
	}
	handle("Unary", newUnary)
	handle("Get", newUnary, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	handle("UnarySimple", newUnarySimple)
	handle("ClientStream", newClientStream)
	handle("ClientStreamSimple", newClientStreamSimple)
	handle("ServerStream", newServerStream)
	handle("ServerStreamSimple", newServerStreamSimple)
	handle("BidiStream", newBidiStream)
	writer := connect.NewErrorWriter(options...)
	mux.HandleFunc("/errorwriter", func(w http.ResponseWriter, r *http.Request) {
		if !writer.IsSupported(r) {
			http.Error(w, "not an RPC", http.StatusTeapot)
			return
		}
		_, err := follow(r.Context(), r.Header.Get("Script"), meta{http.Header{}, http.Header{}}, nil)
		if err := writer.Write(w, r, err); err != nil {
			panic(err)
		}
	})
	return mux
}

// serverOptions appends the options of config to those in options.
func serverOptions(config script.Server, options []connect.HandlerOption) []connect.HandlerOption {
	if n := config.ReadMaxBytes; n != 0 {
		options = append(options, connect.WithReadMaxBytes(max(n, 0)))
	}
	if n := config.SendMaxBytes; n != 0 {
		options = append(options, connect.WithSendMaxBytes(n))
	}
	if n := config.CompressMinBytes; n != 0 {
		options = append(options, connect.WithCompressMinBytes(n))
	}
	if config.RequireHeader {
		options = append(options, connect.WithRequireConnectProtocolHeader())
	}
	if config.Recover {
		options = append(options, connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
			return connect.NewError(connect.CodeAborted, fmt.Errorf("%s%v in %s", script.User, cause, spec.Procedure))
		}))
	}
	if config.NoGzip {
		options = append(options, connect.WithCompression("gzip", nil, nil))
	}
	if config.Reverse {
		options = append(options, connect.WithCompression("reverse", newReverseReader, newReverseWriter))
	}
	if config.Inflated != nil {
		options = append(options, connect.WithCompression("gzip", counting(config.Inflated), newGzipWriter))
	}
	if config.Interceptor {
		options = append(options, connect.WithInterceptors(marker{}))
	}
	if config.Gate {
		options = append(options, connect.WithRequestGate(gate))
	}
	if config.ConditionalReadMax1 {
		options = append(options, connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if spec.Procedure != script.Service+"Unary" {
				return nil
			}
			return []connect.HandlerOption{connect.WithReadMaxBytes(1)}
		}))
	}
	if config.RawCodec {
		options = append(options, connect.WithCodec(script.RawCodec{}))
	}
	if config.ProtoCodec != "" {
		options = append(options, connect.WithCodec(script.ProtoCodec{Status: config.ProtoCodec}))
	}
	if config.Replace != "" {
		options = append(options, connect.WithInterceptors(replace(config.Replace)))
	}
	return options
}

func newReverseReader() connect.Decompressor { return &script.ReverseReader{} }
func newReverseWriter() connect.Compressor   { return &script.ReverseWriter{} }
func newGzipWriter() connect.Compressor      { return script.GzipWriter() }

func counting(counter *script.Counter) func() connect.Decompressor {
	return func() connect.Decompressor { return &script.CountingGzip{Counter: counter} }
}

func gate(ctx context.Context, spec connect.Spec, peer connect.Peer, header http.Header) (context.Context, error) {
	if header.Get("Refuse") == "" {
		return ctx, nil
	}
	return nil, connect.NewError(connect.CodeUnauthenticated,
		fmt.Errorf("%srefused %s over %s", script.User, spec.Procedure, peer.Protocol))
}

// oddText has characters that the protocols must encode: one beyond ASCII, a percent
// sign, and control characters.
var oddText = script.User + "tést 100%\r\n"

// meta has the header and the trailer of a response, to which follow adds metadata.
type meta struct{ header, trailer http.Header }

// follow carries out the words of a script, in their order, and returns the texts of
// the answers, or an error. Other words change nothing; a script without a word for
// the answer is the answer itself.
//
//	code=N       return an error with the code N
//	nothing      return an error without a text
//	plain        return an error of the standard library
//	canceled     return an error that wraps context.Canceled
//	deadline     return an error that wraps context.DeadlineExceeded
//	toolarge     return an error that wraps an *http.MaxBytesError
//	broken       return an error that wraps syscall.EPIPE
//	wire         return a wire error
//	notmodified  return the error of NewNotModifiedError
//	detail       add details to the error
//	errmeta      add metadata to the error
//	errconn      add metadata under names of HTTP/1.1's connections to the error
//	wrapped      wrap the error once more
//	header       set metadata
//	reserved     set metadata under names that the protocols own
//	harmless     the same, without those that cut the body of a stream off
//	connection   set metadata under names of HTTP/1.1's connections
//	vary         set the header Vary
//	big=N        answer with N bytes
//	empty        answer with an empty message
//	n=N          answer with N messages
//	see          answer with the result of see
//	wait         wait for the end of ctx and return its error
//	panic        panic
//	abort        panic with http.ErrAbortHandler
func follow(ctx context.Context, text string, out meta, see func() string) ([]string, error) {
	replies := []string{text}
	var err error
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "code":
			err = connect.NewError(connect.Code(n), errors.New(oddText))
		case "nothing":
			err = connect.NewError(connect.CodeNotFound, nil)
		case "plain":
			err = errors.New(script.User + "plain")
		case "toolarge":
			err = fmt.Errorf("%s%w", script.User, &http.MaxBytesError{Limit: 1})
		case "broken":
			err = fmt.Errorf("%s%w", script.User, syscall.EPIPE)
		case "canceled":
			err = fmt.Errorf("%s%w", script.User, context.Canceled)
		case "deadline":
			err = fmt.Errorf("%s%w", script.User, context.DeadlineExceeded)
		case "wire":
			wire := connect.NewWireError(connect.CodeDataLoss, errors.New(script.User+"wire"))
			wire.Meta().Set("Error-Meta", "hidden")
			err = wire
		case "notmodified":
			err = connect.NewNotModifiedError(http.Header{"Etag": {"new"}})
		case "detail":
			err = withDetails(err)
		case "errmeta":
			var coded *connect.Error
			if errors.As(err, &coded) {
				addReserved(coded.Meta())
				coded.Meta()["Error-Meta"] = []string{"one", "two"}
				coded.Meta().Set("Error-Bin", connect.EncodeBinaryHeader([]byte{0, 255}))
			}
		case "errconn":
			var coded *connect.Error
			if errors.As(err, &coded) {
				addConnection(coded.Meta(), value)
			}
		case "wrapped":
			err = fmt.Errorf("%swrapped: %w", script.User, err)
		case "header":
			out.header["Answer"] = []string{"one", "two"}
			out.header.Set("Answer-Bin", connect.EncodeBinaryHeader([]byte{0, 255}))
			out.trailer["After"] = []string{"three", "four"}
			out.trailer.Set("After-Bin", connect.EncodeBinaryHeader([]byte{1, 254}))
		case "reserved":
			addReserved(out.header)
			addReserved(out.trailer)
		case "harmless":
			for _, header := range []http.Header{out.header, out.trailer} {
				addReserved(header)
				header.Del("Content-Length")
				header.Del("Trailer")
			}
		case "connection":
			addConnection(out.header, value)
			addConnection(out.trailer, value)
		case "length":
			out.header.Set("Content-Length", value)
		case "vary":
			out.header.Set("Vary", "Cookie")
		case "big":
			replies = []string{strings.Repeat("b", n)}
		case "empty":
			replies = []string{""}
		case "n":
			replies = nil
			for i := range n {
				replies = append(replies, fmt.Sprintf("reply %d", i))
			}
		case "see":
			replies = []string{see()}
		case "wait":
			<-ctx.Done()
			err = ctx.Err()
		case "panic":
			panic("as asked")
		case "abort":
			panic(http.ErrAbortHandler)
		}
	}
	return replies, err
}

// withDetails adds two details to err. If err is not a *connect.Error, it returns a new
// one with the details.
func withDetails(err error) error {
	var coded *connect.Error
	if !errors.As(err, &coded) {
		coded = connect.NewError(connect.CodeFailedPrecondition, errors.New(script.User+"with details"))
	}
	for _, message := range []proto.Message{&Message{FileName: "detail"}, durationpb.New(1500 * time.Millisecond)} {
		detail, err := connect.NewErrorDetail(message)
		if err != nil {
			panic(err)
		}
		coded.AddDetail(detail)
	}
	return coded
}

// addConnection sets a header of HTTP/1.1's connections.
func addConnection(header http.Header, key string) {
	header[key] = []string{"7", "8"}
}

// addReserved sets all headers that HTTP or the protocols own, and some with similar
// names that programs may set.
func addReserved(header http.Header) {
	for _, key := range []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Host", "User-Agent", "Trailer", "Date",
		"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding", "Grpc-Accept-Encoding",
		"Connect-Content-Encoding", "Connect-Accept-Encoding", "Connect-Timeout-Ms", "Connect-Protocol-Version",
		"Accept-Encoding",
	} {
		header.Set(key, "7")
	}
	for _, key := range []string{"Unreserved", "Grpc-Trace-Bin", "Grpc-Retry-Pushback-Ms", "Connect-Extra"} {
		header.Set(key, "7")
	}
}
