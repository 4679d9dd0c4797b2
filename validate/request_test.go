// SPDX-License-Identifier: Apache-2.0

// Requests of each kind that keep and break rules, on handlers and clients.

package validate_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/validate"
	pb "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1"
	pbconnect "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1/validatetestv1connect"
)

var requests = []struct {
	name       string
	change     func(*pb.OpenRequest)
	text       string
	violations []string
}{
	{"valid", func(*pb.OpenRequest) {}, "", nil},
	{"field", func(r *pb.OpenRequest) { r.Email = "ada" }, "validatetest.v1.OpenRequest: email: must be a valid email", []string{"email string.email"}},
	{"two fields", func(r *pb.OpenRequest) { r.Email, r.Age = "ada", 17 }, "; age: must be greater", []string{"email string.email", "age int32.gte"}},
	{"item", func(r *pb.OpenRequest) { r.Tags = []string{"a", "too long"} }, "tags[1]: ", []string{"tags string.max_len"}},
	{"map", func(r *pb.OpenRequest) { r.Limits = map[string]int32{"a": 0} }, `limits["a"]: `, []string{"limits int32.gt"}},
	{"nested", func(r *pb.OpenRequest) { r.Address = new(pb.Address) }, "address.street: ", []string{"address.street string.min_len"}},
	{"message", func(r *pb.OpenRequest) { r.Age = 100 }, "a person of 100 or more needs a tag", []string{" open.guardian"}},
}

func TestRequests(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			a := &accounts{id: "abc"}
			client := newClient(serve(t, a, validate.New(), c.server...), c.options...)
			for kind, call := range calls {
				for _, r := range requests {
					t.Run(kind+" "+r.name, func(t *testing.T) {
						msg, before := valid(), a.messages.Load()
						r.change(msg)
						err := call(testContext(t), client, msg)
						if r.violations == nil {
							if err != nil || a.messages.Load() != before+1 {
								t.Errorf("got error %v and %d messages, want none and 1", err, a.messages.Load()-before)
							}
							return
						}
						wantError(t, err, connect.CodeInvalidArgument, r.text, r.violations...)
						if a.messages.Load() != before {
							t.Errorf("the message has reached the handler")
						}
					})
				}
			}
		})
	}
}

func TestClient(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			a := &accounts{id: "abc"}
			client := newClient(serve(t, a, nil, c.server...), append(c.options, connect.WithInterceptors(validate.New()))...)
			for kind, call := range calls {
				t.Run(kind, func(t *testing.T) {
					before := a.messages.Load()
					wantError(t, call(testContext(t), client, &pb.OpenRequest{Email: "ada", Age: 20}), connect.CodeInvalidArgument, "email: ", "email string.email")
					if a.messages.Load() != before {
						t.Errorf("the message was sent")
					}
					if err := call(testContext(t), client, valid()); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// TestStreamsGoOn sends good and bad messages on one stream: both sides can go on after a
// bad one.
func TestStreamsGoOn(t *testing.T) {
	for _, c := range carriers[2:] {
		for _, side := range []string{"handler", "client"} {
			t.Run(c.name+" "+side, func(t *testing.T) {
				a, rules := &accounts{id: "abc"}, validate.New()
				var client pbconnect.AccountServiceClient
				if side == "handler" {
					client = newClient(serve(t, a, rules, c.server...), c.options...)
				} else {
					client = newClient(serve(t, a, nil, c.server...), append(c.options, connect.WithInterceptors(rules))...)
				}
				stream := client.Chat(testContext(t))
				for _, bad := range []bool{false, true, false, true, false} {
					msg := valid()
					if bad {
						msg.Age = 17
					}
					err := stream.Send(msg)
					if bad && side == "client" {
						wantError(t, err, connect.CodeInvalidArgument, "age: ", "age int32.gte")
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if !bad {
						if _, err := stream.Receive(); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := stream.CloseRequest(); err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want the end of the stream", err)
				}
				if err := stream.CloseResponse(); err != nil {
					t.Error(err)
				}
				if got, want := a.refused.Load(), map[string]int64{"handler": 2}[side]; a.messages.Load() != 3 || got != want {
					t.Errorf("got %d messages and %d refused ones, want 3 and %d", a.messages.Load(), got, want)
				}
			})
		}
	}
}

// TestBounds sends messages that break many rules.
func TestBounds(t *testing.T) {
	many := func(n int, item string) *pb.OpenRequest {
		r := valid()
		for range n {
			r.Tags = append(r.Tags, item)
		}
		return r
	}
	long := valid()
	long.Limits = map[string]int32{strings.Repeat("k", 60<<10): 0}
	longer := valid()
	longer.Limits = map[string]int32{strings.Repeat("k", 70<<10): 0}
	tests := []struct {
		name       string
		msg        *pb.OpenRequest
		violations int
		text       string
	}{
		{"few", many(12, "too long"), 12, "; and 2 more"},
		{"as many as fit", many(101, "too long"), 100, "; and 91 more"},
		{"large message", many(10_000, "too long"), 1, "tags[0]: "},
		{"long key", long, 1, "…"},
		{"key that does not fit", longer, 0, "…"},
	}
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New()))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := client.Open(testContext(t), connect.NewRequest(test.msg))
			if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got error %.2000v, want invalid_argument with %q", err, test.text)
			}
			if got := len(validate.Violations(err)); got != test.violations {
				t.Errorf("got %d violations, want %d", got, test.violations)
			}
			if got := len(err.Error()); got > 1200 {
				t.Errorf("got a text of %d bytes, want at most 1200", got)
			}
		})
	}
}

// TestText has a key with control characters and half of a character.
func TestText(t *testing.T) {
	msg := valid()
	msg.Limits = map[string]int32{"a\n\x00b": 0, strings.Repeat("ä", 2000): 1}
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New()))
	_, err := client.Open(testContext(t), connect.NewRequest(msg))
	wantError(t, err, connect.CodeInvalidArgument, `limits["a\n\x00b"]: `, "limits int32.gt")
	if strings.ContainsAny(err.Error(), "\n\x00") {
		t.Errorf("got text %q, want one line", err)
	}
}

func TestFilter(t *testing.T) {
	rules := validate.New(validate.WithFilter(func(s connect.Spec) bool {
		return !strings.HasSuffix(s.Procedure, "/Open") && s.StreamType != connect.StreamTypeBidi
	}), nil)
	a := &accounts{id: "abc"}
	s := serve(t, a, rules)
	client, bad := newClient(s), &pb.OpenRequest{Email: "ada"}
	ctx := testContext(t)
	if err := calls["Open"](ctx, client, bad); err != nil {
		t.Errorf("got %v, want no check of Open", err)
	}
	wantError(t, calls["Watch"](ctx, client, bad), connect.CodeInvalidArgument, "email", "email string.email", "age int32.gte")
	checked := newClient(s, connect.WithInterceptors(rules))
	stream := checked.Chat(ctx)
	for range 2 {
		if err := stream.Send(bad); err != nil {
			t.Errorf("got %v, want no check of Chat", err)
		}
		if _, err := stream.Receive(); err != nil {
			t.Error(err)
		}
	}
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}

// TestValidationOptions leaves out the fields that an update does not change.
func TestValidationOptions(t *testing.T) {
	onlyAge := func(s connect.Spec) []protovalidate.ValidationOption {
		if !strings.HasSuffix(s.Procedure, "/Open") {
			return nil
		}
		return []protovalidate.ValidationOption{protovalidate.WithFilter(protovalidate.FilterFunc(func(_ protoreflect.Message, d protoreflect.Descriptor) bool {
			return d.Name() == "age"
		}))}
	}
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New(validate.WithValidationOptions(onlyAge))))
	ctx := testContext(t)
	wantError(t, calls["Open"](ctx, client, &pb.OpenRequest{Email: "ada", Age: 1}), connect.CodeInvalidArgument, "age", "age int32.gte")
	wantError(t, calls["Watch"](ctx, client, &pb.OpenRequest{Email: "ada", Age: 1}), connect.CodeInvalidArgument, "email", "email string.email", "age int32.gte")
}

func TestWithoutErrorDetails(t *testing.T) {
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New(validate.WithoutErrorDetails())))
	wantError(t, calls["Open"](testContext(t), client, &pb.OpenRequest{Email: "ada", Age: 20}), connect.CodeInvalidArgument, "email: ")
}

// TestFirstViolation has a validator of the program's own.
func TestFirstViolation(t *testing.T) {
	v, err := protovalidate.New(protovalidate.WithFailFast(), protovalidate.WithMessages(new(pb.OpenRequest)), protovalidate.WithDisableLazy())
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New(validate.WithValidator(v))))
	wantError(t, calls["Open"](testContext(t), client, &pb.OpenRequest{Email: "ada"}), connect.CodeInvalidArgument, "email: ", "email string.email")
}

// TestForgetful has a validator whose second check finds nothing, as a rule on the time
// may.
func TestForgetful(t *testing.T) {
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New(validate.WithValidator(new(forgetful)))))
	wantError(t, calls["Open"](testContext(t), client, &pb.OpenRequest{Email: "ada", Age: 20}), connect.CodeInvalidArgument, "email: ", "email string.email")
}

type forgetful struct{ checks int }

func (f *forgetful) Validate(m proto.Message, options ...protovalidate.ValidationOption) error {
	if f.checks++; f.checks > 1 {
		return nil
	}
	return protovalidate.Validate(m, options...)
}

// TestNil has a request without a message, which is sent as an empty one.
func TestNil(t *testing.T) {
	client := newClient(serve(t, &accounts{id: "abc"}, nil), connect.WithInterceptors(validate.New()))
	_, err := client.Open(testContext(t), &connect.Request[pb.OpenRequest]{})
	wantError(t, err, connect.CodeInvalidArgument, "age: ", "email string.email_empty", "age int32.gte")
}

func TestOptionsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"WithValidator":         func() { validate.WithValidator(nil) },
		"WithValidationOptions": func() { validate.WithValidationOptions(nil) },
		"WithFilter":            func() { validate.WithFilter(nil) },
		"WithLogger":            func() { validate.WithLogger(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "validate: "+name+" needs a ") {
					t.Errorf("got panic %q, want one that names the option", got)
				}
			}()
			f()
		})
	}
}

func TestViolationsOfOthers(t *testing.T) {
	for _, err := range []error{nil, io.EOF, connect.NewError(connect.CodeInvalidArgument, io.EOF)} {
		if got := validate.Violations(err); got != nil {
			t.Errorf("got violations %v of error %v, want none", got, err)
		}
	}
}
