// SPDX-License-Identifier: Apache-2.0

// Packer and unpacker: they turn messages into bytes and back, with codec,
// compression, limits and frames. A packed message is one slice, for one write.

package connect

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
)

// packer turns the messages of one direction into bytes.
type packer struct {
	codec       Codec
	framed      bool
	client      bool          // it is a client's
	plain       bool          // messages are not compressed for now
	asIs        bool          // errors of codecs may wrap io.EOF, see WithConnectGoBehavior
	compression *compression  // nil is identity
	minBytes    int           // smaller messages are not compressed
	limit       int           // of a message, after compression; 0 is no limit
	last        *atomic.Int64 // the size of the last message: the likely size of the next, for codecs that cannot measure it
}

// pack encodes and compresses msg, and adds the prefix if messages are framed. It
// returns a buffer, which the caller frees, the size of the encoded message, and whether
// it is compressed.
func (p *packer) pack(msg any) (packed *buffer, size int, compressed bool, err error) {
	_, measures := p.codec.(measuringCodec)
	remember := !measures && p.last != nil
	likely := 0
	if remember {
		likely = int(p.last.Load())
	}
	b := newBuffer(likely)
	b.data = append(b.data, make([]byte, p.prefix())...)
	err = marshal(b, p.codec, msg)
	if remember {
		p.last.Store(int64(len(b.data)))
	}
	if err != nil {
		b.free()
		return nil, 0, false, errorf(CodeInternal, "marshal message: %w", ofCodec(err, p.asIs))
	}
	size = len(b.data) - p.prefix()
	if p.compresses(size) {
		z := newBuffer(0)
		z.data = append(z.data, make([]byte, p.prefix())...)
		err := p.compression.compress(z, b.data[p.prefix():], p.asIs)
		b.free()
		if err != nil {
			z.free()
			return nil, 0, false, ofCompression(err, CodeInternal)
		}
		b, compressed = z, true
	}
	packedSize := len(b.data) - p.prefix()
	switch {
	case p.limit > 0 && packedSize > p.limit:
		b.free()
		return nil, 0, false, errUnsendable(packedSize, sideName(p.client), p.limit)
	case p.framed && uint64(packedSize) > math.MaxUint32:
		b.free()
		return nil, 0, false, errorf(CodeResourceExhausted, "message of %d bytes does not fit a frame", packedSize)
	case p.framed && compressed:
		putPrefix(b.data, flagCompressed)
	case p.framed:
		putPrefix(b.data, 0)
	}
	return b, size, compressed, nil
}

// ofCodec returns an error of a codec. Unless it stays as it is, it does not look like the
// end of a stream.
func ofCodec(err error, asIs bool) error {
	if asIs {
		return err
	}
	return notEnd(err)
}

// errUnsendable returns the error for a message that exceeds a side's limit for sending.
func errUnsendable(size int, side string, limit int) error {
	return errorf(CodeResourceExhausted, "message of %d bytes exceeds the %s's limit of %d bytes for sending, which WithSendMaxBytes sets", size, side, limit)
}

// compresses reports whether messages of a size are compressed.
func (p *packer) compresses(size int) bool {
	return p.compression != nil && !p.plain && size >= p.minBytes
}

func (p *packer) prefix() int {
	if p.framed {
		return prefixSize
	}
	return 0
}

// marshal appends the encoded msg to b. If a codec of the application returns other
// memory than b's, marshal copies it: the codec may keep that memory, and the pool
// reuses b's.
func marshal(b *buffer, codec Codec, msg any) error {
	if own, ok := codec.(measuringCodec); ok {
		return own.marshalTo(b, msg)
	}
	appender, ok := codec.(appendCodec)
	if !ok {
		data, err := codec.Marshal(msg)
		b.data = append(b.data, data...)
		return err
	}
	data, err := appender.MarshalAppend(b.data, msg)
	if err != nil {
		return err
	}
	if _, own := codec.(jsonCodec); own {
		b.data = data
		return nil
	}
	if len(data) < len(b.data) {
		return fmt.Errorf("%T.MarshalAppend returned less than it was given", codec)
	}
	if cap(data) > 0 && cap(b.data) > 0 && &data[:1][0] == &b.data[:1][0] {
		b.data = data
	} else {
		b.data = append(b.data, data[len(b.data):]...)
	}
	return nil
}

// unpacker turns the bytes of one direction into messages. An unframed body is
// one message, then io.EOF.
type unpacker struct {
	codec       Codec
	compression *compression // nil is identity
	limit       int          // of a message, compressed and decompressed; 0 is no limit
	framed      bool
	client      bool  // it is a client's
	asIs        bool  // as a packer's
	endFlag     uint8 // marks the frame that ends the stream, 0 if there is none
	single      bool  // there is one message: none and a second one are errors; false with connect-go's meaning
	ended       bool
	broken      bool   // by flags that are unknown: there are no more messages
	blank       bool   // the frame of the last message had no payload
	unread      uint32 // bytes of a message that was refused, which a further call skips

	frames   frameReader
	whole    *buffer // an unframed body
	hint     int     // its likely size, 0 if unknown
	inflated *buffer
	count    int // messages read
}

// errSecondMessage is the error for a second message in a direction of one.
var errSecondMessage = errors.New("second message")

// piece is a message, or the payload of the end frame. Its data is valid until the
// next call of the unpacker.
type piece struct {
	data   []byte
	packed int // bytes before decompression
	end    bool
}

// next reads one message or the end frame, and decompresses it. It returns io.EOF if
// the body ends between messages.
func (u *unpacker) next() (piece, error) {
	if !u.framed {
		return u.body()
	}
	if u.ended || u.broken {
		return piece{}, io.EOF
	}
	u.rest()
	if u.unread > 0 {
		u.frames.skip(u.unread)
		u.unread = 0
	}
	flags, size, err := u.frames.prefix()
	if err != nil {
		return piece{}, err
	}
	unknown := flags &^ (flagCompressed | u.endFlag)
	if unknown != 0 && !u.asIs { // otherwise errors of the message come before
		return piece{}, u.invalid(flags)
	}
	if u.single && u.count > 0 && (u.endFlag == 0 || flags&u.endFlag == 0) {
		return piece{}, errSecondMessage
	}
	if limit := u.limit; (limit > 0 && uint64(size) > uint64(limit)) || uint64(size) > math.MaxInt {
		u.unread = size
		return piece{}, u.tooLarge(uint64(size))
	}
	data, err := u.frames.payload(int(size))
	if err != nil {
		return piece{}, err
	}
	packed := len(data)
	u.blank = packed == 0
	data, err = u.inflate(data, flags&flagCompressed != 0)
	if err != nil {
		return piece{}, err
	}
	if unknown != 0 {
		return piece{}, u.invalid(flags)
	}
	if flags&u.endFlag != 0 {
		u.ended = true
		return piece{data, packed, true}, nil
	}
	u.count++
	return piece{data, packed, false}, nil
}

// invalid returns the error for unknown flags, after which there are no more messages.
func (u *unpacker) invalid(flags uint8) error {
	u.broken = true
	return errorf(CodeInternal, "protocol error: invalid envelope flags %08b", flags)
}

// lost returns the code of connect-go for a body that cannot be read. Ok is false if it is
// that of a body which ends where it should not.
func (u *unpacker) lost(err error) (code Code, ok bool) {
	switch {
	case u.framed && !u.frames.begun:
		return CodeInternal, true
	case errors.Is(err, io.ErrUnexpectedEOF) && u.framed && !u.frames.lost:
		return 0, false
	}
	return CodeUnknown, true
}

// body reads an unframed body.
func (u *unpacker) body() (piece, error) {
	if u.count > 0 {
		return piece{}, io.EOF
	}
	u.whole = newBuffer(u.hint + 1)
	if err := u.whole.readAll(u.frames.src, u.hint, u.limit); err != nil {
		if errors.Is(err, errTooLarge) {
			return piece{}, u.tooLarge(uint64(max(u.hint, 0)))
		}
		return piece{}, err
	}
	u.ended = true
	data, err := u.inflate(u.whole.data, u.compression != nil)
	if err != nil {
		return piece{}, err
	}
	u.count++
	return piece{data, len(u.whole.data), false}, nil
}

// inflate decompresses a message. An empty message with the flag for compression
// stays empty, but the flag without a compression is an error.
func (u *unpacker) inflate(data []byte, compressed bool) ([]byte, error) {
	switch {
	case !compressed:
		return data, nil
	case u.compression == nil:
		return nil, errorf(CodeInternal, "protocol error: sent compressed message without compression support")
	case len(data) == 0:
		return data, nil
	}
	if u.inflated == nil {
		u.inflated = newBuffer(len(data))
	}
	u.inflated.data = u.inflated.data[:0]
	err := u.compression.decompress(u.inflated, data, u.limit, u.asIs)
	if errors.Is(err, errTooLarge) {
		return nil, u.tooLarge(0)
	}
	if err != nil {
		return nil, ofCompression(err, CodeInvalidArgument)
	}
	return u.inflated.data, nil
}

// rest frees the buffers that only the last message needed, so that a stream which
// waits for the next one holds no more than the bytes that it has read ahead.
func (u *unpacker) rest() {
	u.frames.large.free()
	u.inflated.free()
	u.frames.large, u.inflated = nil, nil
}

// tooLarge returns the error for a message that exceeds the limit. A size within the
// limit is not the message's: that is not known then.
func (u *unpacker) tooLarge(size uint64) error {
	of := fmt.Sprintf("of %d bytes", size)
	if size <= uint64(u.limit) {
		of = fmt.Sprintf("of more than %d bytes", u.limit)
	}
	return errorf(CodeResourceExhausted, "message %s exceeds the %s's limit of %d bytes for receiving, which WithReadMaxBytes sets", of, sideName(u.client), u.limit)
}

// sideName returns how errors call a side of a call.
func sideName(client bool) string {
	if client {
		return "client"
	}
	return "server"
}

// unmarshal decodes a message into msg. If fresh is true, msg is empty, and unmarshal
// does not clear it first.
func (u *unpacker) unmarshal(data []byte, msg any, fresh bool) error {
	if u.blank {
		return nil // a frame without payload is the message without content, in any codec
	}
	var err error
	if own, ok := u.codec.(measuringCodec); ok {
		err = own.unmarshal(data, msg, fresh)
	} else {
		err = u.codec.Unmarshal(data, msg)
	}
	if err != nil {
		return errorf(CodeInvalidArgument, "unmarshal message: %w", ofCodec(err, u.asIs))
	}
	return nil
}

// free frees the buffers. Afterwards the unpacker has no more messages.
func (u *unpacker) free() {
	u.frames.free()
	u.whole.free()
	u.inflated.free()
	u.whole, u.inflated = nil, nil
}
