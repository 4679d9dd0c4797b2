// SPDX-License-Identifier: Apache-2.0

// gRPC's status as a message for codecs.

package connect

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestStatusByCodec: a codec that is Protobuf writes and reads the bytes that the
// library does, and no name is registered.
func TestStatusByCodec(t *testing.T) {
	randomly(t, 1000, func(t *testing.T, r *rand.Rand) {
		want := randomError(r)
		if want == nil {
			return
		}
		data := appendStatus(nil, want)
		if got, err := marshalStatus(want, protoCodec{}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("got %x, %v, want %x", got, err, data)
		}
		got, err := unmarshalStatus(data, protoCodec{})
		if err != nil {
			t.Fatal(err)
		}
		want.cause = messageError(validUTF8(want.Message()))
		if err := sameError(got, want); err != nil {
			t.Error(err)
		}
		if !got.wire {
			t.Error("got an error of this program, want one of a server")
		}
	})
	if _, err := unmarshalStatus([]byte{0xff}, protoCodec{}); err == nil {
		t.Error("malformed bytes: got no error")
	}
	if _, err := protoregistry.GlobalTypes.FindMessageByName("grpc.status.v1.Status"); err != protoregistry.NotFound {
		t.Errorf("got %v, want a name that is not registered", err)
	}
}
