// SPDX-License-Identifier: Apache-2.0

// This file records the results of exported functions and methods that need no server.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Values returns a transcript with one line for each result.
func Values() script.Transcript {
	var t script.Transcript
	codes(&t)
	enums(&t)
	errorValues(&t)
	details(&t)
	binaryHeaders(&t)
	requests(&t)
	return t
}

func codes(t *script.Transcript) {
	for code := connect.Code(0); code < 20; code++ {
		text, err := code.MarshalText()
		t.Add("Code %d %v %q %v", code, code, text, err)
	}
	for _, text := range []string{
		"canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
		"resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable",
		"data_loss", "unauthenticated", "", "ok", "cancelled", "NOT_FOUND", "code_0", "code_5", "code_16", "code_016", "code_17", "code_017", "code_", "code_-1",
		"code_4294967295", "code_4294967296", "code_x", "17", " aborted",
	} {
		var code connect.Code
		err := code.UnmarshalText([]byte(text))
		t.Add("Code of %q %d failed=%v", text, code, err != nil)
	}
}

func enums(t *script.Transcript) {
	for i := range 6 {
		t.Add("StreamType %d %v", i, connect.StreamType(i))
		t.Add("IdempotencyLevel %d %v", i, connect.IdempotencyLevel(i))
	}
	t.Add("protocols %q %q %q", connect.ProtocolConnect, connect.ProtocolGRPC, connect.ProtocolGRPCWeb)
	t.Add("versions %v %v %v %v", connect.IsAtLeastVersion0_0_1, connect.IsAtLeastVersion0_1_0,
		connect.IsAtLeastVersion1_7_0, connect.IsAtLeastVersion1_13_0)
}

func errorValues(t *script.Transcript) {
	cause := errors.New("user: cause")
	failed := connect.NewError(connect.CodeAborted, cause)
	errs := map[string]error{
		"nil": nil, "plain": cause, "coded": failed, "wrapped": fmt.Errorf("user: wrapped: %w", failed),
		"without cause": connect.NewError(connect.CodeDataLoss, nil), "empty cause": connect.NewError(connect.CodeDataLoss, errors.New("")),
		"unknown code": connect.NewError(connect.Code(99), cause), "code zero": connect.NewError(0, cause),
		"wire": connect.NewWireError(connect.CodeInternal, cause), "wrapped wire": fmt.Errorf("user: wrapped: %w", connect.NewWireError(connect.CodeInternal, cause)),
		"not modified": connect.NewNotModifiedError(nil), "not modified with header": connect.NewNotModifiedError(http.Header{"Etag": {"a"}}),
		"coded twice": connect.NewError(connect.CodeCanceled, failed), "context": connect.NewError(connect.CodeCanceled, context.Canceled),
		"context alone": context.Canceled, "deadline alone": context.DeadlineExceeded, "EOF": io.EOF,
	}
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		err, text := errs[name], ""
		if err != nil {
			text = err.Error()
		}
		t.Add("error %s: %q code=%v wire=%v notmodified=%v", name, text, connect.CodeOf(err), connect.IsWireError(err), connect.IsNotModifiedError(err))
		var coded *connect.Error
		if errors.As(err, &coded) {
			t.Add("error %s: message=%q code=%v details=%d meta=%v unwrapped=%v cause=%v canceled=%v", name,
				coded.Message(), coded.Code(), len(coded.Details()), coded.Meta(), coded.Unwrap(), errors.Is(err, cause), errors.Is(err, context.Canceled))
		}
	}
	failed.Meta().Set("Key", "value")
	t.Add("error meta kept: %v", failed.Meta())
}

func details(t *script.Transcript) {
	wrapped, err := anypb.New(&Message{FileName: "inside"})
	if err != nil {
		t.Add("anypb: %v", err)
		return
	}
	for _, message := range []proto.Message{&Message{}, &Message{FileName: "detail"}, wrapped} {
		detail, err := connect.NewErrorDetail(message)
		if err != nil {
			t.Add("detail of %T: failed", message)
			continue
		}
		value, err := detail.Value()
		t.Add("detail of %T: type %q bytes %x value %T equal=%v err=%v", message, detail.Type(), detail.Bytes(), value, proto.Equal(value, message), err)
		failed := connect.NewError(connect.CodeAborted, nil)
		failed.AddDetail(detail)
		failed.AddDetail(detail)
		t.Add("details added: %d", len(failed.Details()))
	}
}

func binaryHeaders(t *script.Transcript) {
	for _, data := range []string{"", "\x00", "\x00\x01", "\x00\x01\x02", strings.Repeat("\xff", 10)} {
		t.Add("encoded %q %q", data, connect.EncodeBinaryHeader([]byte(data)))
	}
	for _, text := range []string{"", "AA", "AA==", "AAE", "AAE=", "AAEC", "AA=", "A", "!!", "-_", "+/", "AA, AA", " AA", "AA\n"} {
		data, err := connect.DecodeBinaryHeader(text)
		t.Add("decoded %q %q failed=%v", text, data, err != nil)
	}
}

func requests(t *script.Transcript) {
	req := connect.NewRequest(&Message{FileName: "a"})
	t.Add("request %T %v %v %v %q header nil=%v", req.Any(), req.Msg.GetFileName(), req.Spec(), address(req.Peer()), req.HTTPMethod(), req.Header() == nil)
	res := connect.NewResponse(&Message{FileName: "b"})
	t.Add("response %T %v header nil=%v trailer nil=%v", res.Any(), res.Msg.GetFileName(), res.Header() == nil, res.Trailer() == nil)
	var zero connect.Request[Message]
	t.Add("zero request %v %v %q header nil=%v", zero.Spec(), zero.Msg == nil, zero.HTTPMethod(), zero.Header() == nil)
	var zeroResponse connect.Response[Message]
	t.Add("zero response header nil=%v trailer nil=%v", zeroResponse.Header() == nil, zeroResponse.Trailer() == nil)
	_, info := connect.NewClientContext(context.Background())
	t.Add("client context %q request nil=%v response nil=%v trailer nil=%v spec=%v peer=%v", info.HTTPMethod(),
		info.RequestHeader() == nil, info.ResponseHeader() == nil, info.ResponseTrailer() == nil, info.Spec(), address(info.Peer()))
	handlerInfo, ok := connect.CallInfoForHandlerContext(context.Background())
	t.Add("handler context %v %v", handlerInfo == nil, ok)
}

// address returns the parts of a peer that both implementations have.
func address(p connect.Peer) string { return fmt.Sprint(p.Addr, p.Protocol, p.Query) }
