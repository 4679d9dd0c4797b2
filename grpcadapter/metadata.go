// SPDX-License-Identifier: Apache-2.0

// Metadata and peers: grpc-go's types for headers, trailers and addresses.

package grpcadapter

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// isBinary reports whether the values of a key in lower case are bytes, which HTTP
// carries in base64. [grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata"]
func isBinary(key string) bool { return strings.HasSuffix(key, "-bin") }

// describesMessages reports whether a header with this key in lower case belongs to
// the protocols or to HTTP, and so is no metadata for a program of grpc-go.
func describesMessages(key string) bool {
	switch key {
	case "accept-encoding", "connection", "content-encoding", "content-length", "host", "te", "trailer", "transfer-encoding",
		"grpc-accept-encoding", "grpc-encoding", "grpc-message", "grpc-message-type", "grpc-status", "grpc-status-details-bin", "grpc-timeout",
		"connect-accept-encoding", "connect-content-encoding", "connect-protocol-version", "connect-timeout-ms":
		return true
	}
	return strings.HasPrefix(key, ":")
}

// isReserved reports whether grpc-go does not send metadata with this key.
func isReserved(key string) bool {
	return key == "content-type" || key == "user-agent" || describesMessages(key)
}

// metadataOf returns a header as metadata: keys in lower case, binary values decoded.
func metadataOf(h http.Header) (metadata.MD, error) {
	md := make(metadata.MD, len(h))
	for name, values := range h {
		key := strings.ToLower(name)
		switch {
		case describesMessages(key):
		case !isBinary(key):
			md[key] = append(md[key], values...)
		default:
			for _, value := range values {
				for one := range strings.SplitSeq(value, ",") { // HTTP joins values of one key
					data, err := connect.DecodeBinaryHeader(strings.TrimSpace(one))
					if err != nil {
						return nil, fmt.Errorf("read metadata: value of %q is %q: expected base64: %w", key, one, err)
					}
					md[key] = append(md[key], string(data))
				}
			}
		}
	}
	return md, nil
}

// addMetadata adds metadata to a header. Keys that grpc-go reserves are left out.
func addMetadata(h http.Header, md metadata.MD) {
	for key, values := range md {
		key = strings.ToLower(key)
		if isReserved(key) {
			continue
		}
		name := http.CanonicalHeaderKey(key)
		for _, value := range values {
			if isBinary(key) {
				value = connect.EncodeBinaryHeader([]byte(value))
			}
			h[name] = append(h[name], value)
		}
	}
}

// address is a peer's address that is not an IP address with a port.
type address string

func (a address) String() string { return string(a) }

func (a address) Network() string {
	if strings.HasPrefix(string(a), "/") || strings.HasPrefix(string(a), "@") || a == "" {
		return "unix"
	}
	return "tcp"
}

// peerOf returns grpc-go's description of a peer.
func peerOf(p connect.Peer) *peer.Peer {
	return &peer.Peer{Addr: addrOf(p.Addr)}
}

func addrOf(text string) net.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return address(text)
}
