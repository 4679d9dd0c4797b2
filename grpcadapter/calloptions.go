// SPDX-License-Identifier: Apache-2.0

// The call options of grpc-go, as far as they have a meaning here.

package grpcadapter

import (
	"net/http"
	"slices"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// settings are the call options that the library has as options of a client. Zero
// values stand for the client's own.
type settings struct {
	receiveMax int // bytes
	sendMax    int // bytes
	compressor string
}

func (s settings) options() []connect.ClientOption {
	var options []connect.ClientOption
	if s.receiveMax > 0 {
		options = append(options, connect.WithReadMaxBytes(s.receiveMax))
	}
	if s.sendMax > 0 {
		options = append(options, connect.WithSendMaxBytes(s.sendMax))
	}
	switch s.compressor {
	case "":
	case "identity":
		options = append(options, connect.WithSendCompression(""))
	default:
		options = append(options, connect.WithSendCompression(s.compressor))
	}
	return options
}

// callOptions are the options of one call.
type callOptions struct {
	settings    settings
	headers     []*metadata.MD
	trailers    []*metadata.MD
	peers       []*peer.Peer
	finished    []func(error)
	credentials credentials.PerRPCCredentials
}

// readOptions reads options in their order, the later ones before the earlier.
func readOptions(opts []grpc.CallOption) (*callOptions, error) {
	o := new(callOptions)
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.EmptyCallOption, grpc.StaticMethodCallOption, grpc.MaxRetryRPCBufferSizeCallOption:
		case grpc.HeaderCallOption:
			o.headers = append(o.headers, opt.HeaderAddr)
		case grpc.TrailerCallOption:
			o.trailers = append(o.trailers, opt.TrailerAddr)
		case grpc.PeerCallOption:
			o.peers = append(o.peers, opt.PeerAddr)
		case grpc.OnFinishCallOption:
			o.finished = append(o.finished, opt.OnFinish)
		case grpc.PerRPCCredsCallOption:
			o.credentials = opt.Creds
		case grpc.CompressorCallOption:
			o.settings.compressor = opt.CompressorType
		case grpc.MaxRecvMsgSizeCallOption:
			if opt.MaxRecvMsgSize <= 0 {
				return nil, refused("MaxCallRecvMsgSize", "its size is %d: expected more than 0", opt.MaxRecvMsgSize)
			}
			o.settings.receiveMax = opt.MaxRecvMsgSize
		case grpc.MaxSendMsgSizeCallOption:
			if opt.MaxSendMsgSize <= 0 {
				return nil, refused("MaxCallSendMsgSize", "its size is %d: expected more than 0", opt.MaxSendMsgSize)
			}
			o.settings.sendMax = opt.MaxSendMsgSize
		case grpc.FailFastCallOption:
			if !opt.FailFast {
				return nil, refused("WaitForReady(true)", "a ClientConn here has no state to wait for: retry calls that fail with codes.Unavailable")
			}
		case grpc.ContentSubtypeCallOption:
			if opt.ContentSubtype != "proto" {
				return nil, refused("CallContentSubtype", "it is %q: expected \"proto\": give NewClientConn the option connect.WithProtoJSON or connect.WithCodec", opt.ContentSubtype)
			}
		case grpc.ForceCodecCallOption, grpc.ForceCodecV2CallOption, grpc.CustomCodecCallOption:
			return nil, refused("ForceCodec", "give NewClientConn the option connect.WithCodec")
		default:
			return nil, status.Errorf(codes.Unimplemented, "read call options: %T is not supported", opt)
		}
	}
	return o, nil
}

// refused returns the error for an option with which a call is not made.
func refused(option, format string, args ...any) error {
	return status.Errorf(codes.Unimplemented, "read call options: grpc."+option+" is not supported: "+format, args...)
}

// asks reports whether there are results to set.
func (o *callOptions) asks() bool { return len(o.headers)+len(o.trailers)+len(o.peers) > 0 }

// answered sets the results of Header, Trailer and Peer.
func (o *callOptions) answered(header, trailer func() http.Header, from func() connect.Peer) {
	for _, md := range o.headers {
		*md, _ = metadataOf(header())
	}
	for _, md := range o.trailers {
		*md, _ = metadataOf(trailer())
	}
	for _, p := range o.peers {
		*p = *peerOf(from())
	}
}

// finish calls the functions of OnFinish, the last one first.
func (o *callOptions) finish(err error) {
	for _, f := range slices.Backward(o.finished) {
		f(err)
	}
}
