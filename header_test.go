// SPDX-License-Identifier: Apache-2.0

// The headers that the protocols own, and the merging of headers.

package connect

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestProtocolOwns holds the keys. [checklist 51, 90]
func TestProtocolOwns(t *testing.T) {
	for _, key := range []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Accept-Encoding", "Host", "User-Agent", "Trailer", "Date",
		"Transfer-Encoding", "Keep-Alive", "Upgrade",
		"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Timeout",
		"Connect-Timeout-Ms", "Connect-Protocol-Version", "Connect-Content-Encoding", "Connect-Accept-Encoding",
	} {
		if http.CanonicalHeaderKey(key) != key {
			t.Errorf("%q is not canonical", key)
		}
		if !protocolOwns(key) {
			t.Errorf("%q: got the application's, want the protocols'", key)
		}
	}
	for _, key := range []string{"", "Authorization", "Accept", "Cookie", "Grpc", "Grpcx-A", "Connected", "Connect", "X-Grpc-Status", "Etag",
		"Grpc-Trace-Bin", "Grpc-Retry-Pushback-Ms", "Grpc-Previous-Rpc-Attempts", "Grpc-Tags-Bin", "Connect-Else", "Connection",
		"Cache-Control", "Content-Language", "Vary", "X-User-Agent", "Trailer-X"} {
		if protocolOwns(key) {
			t.Errorf("%q: got the protocols', want the application's", key)
		}
	}
	for _, key := range []string{"Date", "Connection", "Keep-Alive", "Te"} {
		if ownsOfRequest(key) {
			t.Errorf("%s of a request: got the protocols', want the application's", key)
		}
	}
}

func TestAddMetadata(t *testing.T) {
	from := http.Header{
		"X-A": {"1", "2"}, "X-Empty": {}, "X-Nil": nil, "Grpc-Status": {"0"}, "grpc-message": {"m"}, "Content-Type": {"text/html"},
		"content-length": {"5"}, "x-lower": {"l"},
	}
	into := http.Header{"X-A": {"0"}}
	shared := into["X-A"][:1:1]
	addMetadata(into, from, false)
	want := http.Header{"X-A": {"0", "1", "2"}, "x-lower": {"l"}} // keys stay as they are
	if !sameHeader(into, want) {
		t.Errorf("got %q, want %q", into, want)
	}
	into["X-A"][0] = "changed"
	if from["X-A"][0] != "1" || shared[0] == "1" {
		t.Errorf("got %q and %q changed", from, shared)
	}

	into = make(http.Header)
	addHeader(into, from)
	for key, values := range from {
		if !slices.Equal(into[key], values) {
			t.Errorf("%s: got %q, want %q", key, into[key], values)
		}
		if _, ok := into[key]; ok && len(values) == 0 {
			t.Errorf("%s: got a key without values", key)
		}
		if len(values) > 0 {
			into[key][0] = "changed"
			if from[key][0] == "changed" {
				t.Errorf("%s: the values are shared", key)
			}
		}
	}
}

// TestHeaderKeys: the constants are in the form in which http.Header holds keys.
func TestHeaderKeys(t *testing.T) {
	for _, key := range []string{
		headerAcceptEncoding, headerConnection, headerContentEncoding, headerContentLength, headerContentType, headerDate, headerHost, headerTE,
		headerUserAgent, headerVary, headerXUserAgent, headerConnectAccept, headerConnectEncoding, headerConnectTimeout,
		headerConnectVersion, headerGRPCAccept, headerGRPCDetails, headerGRPCEncoding, headerGRPCMessage, headerGRPCStatus, headerGRPCTimeout,
	} {
		if got := http.CanonicalHeaderKey(key); got != key {
			t.Errorf("got %q, want %q", key, got)
		}
	}
	for name, value := range map[string][]string{"identity": valueIdentity, "1": valueOne, "trailers": valueTrailers, "application/json": valueJSON} {
		if len(value) != 1 || cap(value) != 1 || value[0] != name {
			t.Errorf("got %q with room for %d, want %q and no room for more", value, cap(value), name)
		}
	}
}

func TestDecodeBinaryHeader(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "YQ": "a", "YQ==": "a", "YWI": "ab", "YWI=": "ab", "YWJj": "abc", "+/8": "\xfb\xff",
	} {
		if got, err := DecodeBinaryHeader(in); err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"!", "Y", "-_8", "YQ,YQ", "Y Q", "YQ=a", strings.Repeat("=", 4)} {
		if got, err := DecodeBinaryHeader(in); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
}
