// SPDX-License-Identifier: Apache-2.0

// Package compress and the packages below it add compression algorithms to
// clients and handlers of package connect, which has only gzip built in.
//
// Each algorithm is a package with a function With, whose result is one
// [connect.Option] for either side:
//
//	handler := pingv1connect.NewPingServiceHandler(svc, zstd.With(), br.With())
//	client := pingv1connect.NewPingServiceClient(http.DefaultClient, url,
//		zstd.With(),
//		connect.WithSendCompression(zstd.Name), // compress requests, too
//	)
//
// A handler with the option accepts requests in that algorithm and answers in
// it when the client lists it. A client with the option lists it, and reads
// responses in it; requests stay uncompressed until
// [connect.WithSendCompression] names an algorithm, because only the caller
// knows whether the server understands it. The option added last is the one
// that a client lists first. Messages too small to gain anything stay as they
// are: [connect.WithCompressMinBytes] sets the size.
//
// # Which one
//
//	package   name      choose it for
//	zstd      zstd      calls between services: gzip's ratio, and the fastest to decompress after snappy
//	gzip      gzip      the same wire format as the built-in one, smaller in the same time
//	br        br        browsers and text over slow links, where ratio matters most
//	snappy    snappy    fast links and busy CPUs: cheap, with a modest ratio
//	deflate   deflate   peers that support nothing else
//
// gzip is the only algorithm that every Connect and gRPC implementation
// supports, so keep it available: these options add to it and never remove it.
// Brotli is slow at its high levels, which are for content that is compressed
// once and read often; its default here is a level for content made per call.
//
// # Bounds
//
// Every decompressor works as a stream: it inflates as many bytes as its reader
// asks for, plus at most one block, so that a limit set with
// [connect.WithReadMaxBytes] bounds the work of a small message that claims to
// be a huge one. Memory per message in flight is bounded by the window of the
// format: 32 KiB for gzip and deflate, 64 KiB for snappy, 16 MiB for br and
// 8 MiB for zstd, the last two only if the peer asks for so much. No package
// starts a goroutine. A decompressor that failed, that was closed before the
// end or that needed more than 1 MiB is not reused: its memory is freed.
package compress

import "github.com/seed-b7c59c10/connect"

// With makes one option of an algorithm for both sides: on a handler it is
// [connect.WithCompression], on a client [connect.WithAcceptCompression]. It
// serves algorithms that have no package here; name is the value on the wire,
// and the constructors are called whenever a pool is empty, from any goroutine.
func With(
	name string,
	newDecompressor func() connect.Decompressor,
	newCompressor func() connect.Compressor,
) connect.Option {
	return option{
		HandlerOption: connect.WithCompression(name, newDecompressor, newCompressor),
		ClientOption:  connect.WithAcceptCompression(name, newDecompressor, newCompressor),
	}
}

// option is a connect.Option by embedding one option of each side.
type option struct {
	connect.HandlerOption
	connect.ClientOption
}
