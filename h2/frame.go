// SPDX-License-Identifier: Apache-2.0

// Frames as they are on the wire: their header, and how they are appended.

package h2

import "encoding/binary"

// clientPreface is what a client sends first. [RFC 9113, section 3.4]
const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	frameHeaderLen = 9
	frameSizeMin   = 1 << 14   // what every peer takes [RFC 9113, section 4.2]
	frameSizeMax   = 1<<24 - 1 // the most that a peer may declare to take
	windowStart    = 1<<16 - 1 // of every connection and stream [RFC 9113, section 6.9.2]
	windowMax      = 1<<31 - 1
	streamIDMax    = 1<<31 - 1
)

// A frameType says what a frame is for. [RFC 9113, section 6]
type frameType uint8

const (
	frameData         frameType = 0x0
	frameHeaders      frameType = 0x1
	framePriority     frameType = 0x2
	frameRSTStream    frameType = 0x3
	frameSettings     frameType = 0x4
	framePushPromise  frameType = 0x5
	framePing         frameType = 0x6
	frameGoAway       frameType = 0x7
	frameWindowUpdate frameType = 0x8
	frameContinuation frameType = 0x9
)

// The flags of frames. Which bit means what depends on the type.
const (
	flagEndStream  = 0x1 // DATA, HEADERS
	flagAck        = 0x1 // SETTINGS, PING
	flagEndHeaders = 0x4 // HEADERS, CONTINUATION
	flagPadded     = 0x8 // DATA, HEADERS
	flagPriority   = 0x20
)

// A settingID names a parameter of a SETTINGS frame. [RFC 9113, section 6.5.2]
type settingID uint16

const (
	settingHeaderTableSize   settingID = 0x1
	settingEnablePush        settingID = 0x2
	settingMaxStreams        settingID = 0x3
	settingInitialWindowSize settingID = 0x4
	settingMaxFrameSize      settingID = 0x5
	settingMaxHeaderListSize settingID = 0x6
)

// A frameHeader begins every frame. [RFC 9113, section 4.1]
type frameHeader struct {
	length int
	kind   frameType
	flags  uint8
	stream uint32
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

// parseFrameHeader reads the first nine bytes of b.
func parseFrameHeader(b []byte) frameHeader {
	_ = b[frameHeaderLen-1]
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   frameType(b[3]),
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & streamIDMax, // the first bit is reserved
	}
}

// appendFrame appends the header of a frame whose payload has length bytes.
func appendFrame(b []byte, kind frameType, flags uint8, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendRSTStream(b []byte, stream uint32, code ErrCode) []byte {
	b = appendFrame(b, frameRSTStream, 0, stream, 4)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int) []byte {
	b = appendFrame(b, frameWindowUpdate, 0, stream, 4)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags uint8
	if ack {
		flags = flagAck
	}
	b = appendFrame(b, framePing, flags, 0, len(data))
	return append(b, data[:]...)
}

func appendGoAway(b []byte, last uint32, code ErrCode, reason string) []byte {
	b = appendFrame(b, frameGoAway, 0, 0, 8+len(reason))
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, reason...)
}

// A setting is one parameter of a SETTINGS frame.
type setting struct {
	id    settingID
	value uint32
}

func appendSettings(b []byte, settings ...setting) []byte {
	b = appendFrame(b, frameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.id))
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}
