// SPDX-License-Identifier: Apache-2.0

// Tests of the times that a method's schema has.

package connect

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// methodWith returns the descriptor of a method whose options have these bytes.
func methodWith(t testing.TB, options []byte) protoreflect.MethodDescriptor {
	t.Helper()
	var parsed *descriptorpb.MethodOptions
	if options != nil {
		parsed = new(descriptorpb.MethodOptions)
		parsed.ProtoReflect().SetUnknown(options)
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("s.proto"), Package: proto.String("s"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Do"), InputType: proto.String(".s.M"), OutputType: proto.String(".s.M"), Options: parsed,
		}}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Services().Get(0).Methods().Get(0)
}

// timeoutsBytes returns the option's bytes.
func timeoutsBytes(t testing.TB, standard, most *durationpb.Duration) []byte {
	t.Helper()
	var value []byte
	for number, d := range map[protowire.Number]*durationpb.Duration{timeoutsDefaultNumber: standard, timeoutsMaxNumber: most} {
		if d == nil {
			continue
		}
		data, err := proto.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		value = protowire.AppendBytes(protowire.AppendTag(value, number, protowire.BytesType), data)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, timeoutsNumber, protowire.BytesType), value)
}

func TestSchemaTimeouts(t *testing.T) {
	second, minute := durationpb.New(time.Second), durationpb.New(time.Minute)
	both := timeoutsBytes(t, second, minute)
	other := protowire.AppendVarint(protowire.AppendTag(nil, 12345678, protowire.VarintType), 7)
	for _, c := range []struct {
		name           string
		schema         any
		options        []Option
		standard, most time.Duration
	}{
		{"none", methodWith(t, nil), nil, 0, 0},
		{"no schema", nil, nil, 0, 0},
		{"another schema", "schema", nil, 0, 0},
		{"both", methodWith(t, both), nil, time.Second, time.Minute},
		{"among other options", methodWith(t, append(append(other[:len(other):len(other)], both...), other...)), nil, time.Second, time.Minute},
		{"default", methodWith(t, timeoutsBytes(t, second, nil)), nil, time.Second, 0},
		{"max", methodWith(t, timeoutsBytes(t, nil, minute)), nil, 0, time.Minute},
		{"the last one counts", methodWith(t, append(timeoutsBytes(t, minute, nil), both...)), nil, time.Second, time.Minute},
		{"an option is stronger", methodWith(t, both), []Option{WithDefaultTimeout(time.Hour)}, time.Hour, time.Minute},
		{"an option takes it away", methodWith(t, both), []Option{WithMaxTimeout(0), WithDefaultTimeout(-1)}, 0, 0},
		{"nanoseconds", methodWith(t, timeoutsBytes(t, durationpb.New(1500*time.Millisecond), nil)), nil, 1500 * time.Millisecond, 0},
		{"negative", methodWith(t, timeoutsBytes(t, durationpb.New(-time.Second), nil)), nil, 0, 0},
		{"too long", methodWith(t, timeoutsBytes(t, &durationpb.Duration{Seconds: math.MaxInt64}, nil)), nil, math.MaxInt64, 0},
		{"cut off", methodWith(t, both[:len(both)-1]), nil, 0, 0},
		{"another type", methodWith(t, protowire.AppendVarint(protowire.AppendTag(nil, timeoutsNumber, protowire.VarintType), 7)), nil, 0, 0},
		{"no message", methodWith(t, protowire.AppendString(protowire.AppendTag(nil, timeoutsNumber, protowire.BytesType), "\xff\xff\xff")), nil, 0, 0},
	} {
		handler := []HandlerOption{WithSchema(c.schema)}
		client := []ClientOption{WithSchema(c.schema)}
		for _, o := range c.options {
			handler, client = append(handler, o), append(client, o)
		}
		onClient, err := newClientConfig(http.DefaultClient, "http://localhost/s.S/Do", client)
		if err != nil {
			t.Fatal(err)
		}
		for side, config := range map[string]*config{"handler": newHandlerConfig("/s.S/Do", StreamTypeUnary, handler), "client": onClient} {
			if got := config.times.standard.Duration; got != c.standard {
				t.Errorf("%s, %s: got default %v, want %v", c.name, side, got, c.standard)
			}
			if got := config.times.most.Duration; got != c.most {
				t.Errorf("%s, %s: got longest %v, want %v", c.name, side, got, c.most)
			}
		}
	}
}

// FuzzDurationOf: any bytes are a duration that is not negative, and those of a valid
// Duration are that.
func FuzzDurationOf(f *testing.F) {
	f.Add([]byte{8, 1})
	f.Add([]byte{8, 1, 16, 0xff})
	f.Add([]byte(strings.Repeat("\xff", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := durationOf(data)
		if got < 0 {
			t.Fatalf("got %v, want no negative duration", got)
		}
		var d durationpb.Duration
		if proto.Unmarshal(data, &d) == nil && d.IsValid() && d.GetSeconds() >= 0 && d.GetNanos() >= 0 && d.GetSeconds() < math.MaxInt64/int64(time.Second) && got != d.AsDuration() {
			t.Fatalf("got %v, want %v", got, d.AsDuration())
		}
	})
}
