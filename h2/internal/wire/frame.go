// SPDX-License-Identifier: Apache-2.0

// Frames in the form of the wire: their headers, and functions that append them. [RFC
// 9113, sections 4.1 and 6]

package wire

import "encoding/binary"

// ClientPreface is the first thing that a client sends. [RFC 9113, section 3.4]
const ClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	FrameHeaderLen = 9
	FrameSizeMin   = 1 << 14   // payload that every peer takes [RFC 9113, section 4.2]
	FrameSizeMax   = 1<<24 - 1 // largest SETTINGS_MAX_FRAME_SIZE
	WindowStart    = 1<<16 - 1 // of every connection and stream [RFC 9113, section 6.9.2]
	WindowMax      = 1<<31 - 1
	StreamIDMax    = 1<<31 - 1
)

// A frameType is the purpose of a frame. [RFC 9113, section 6]
type frameType uint8

const (
	FrameData         frameType = 0x0
	FrameHeaders      frameType = 0x1
	FramePriority     frameType = 0x2
	FrameRSTStream    frameType = 0x3
	FrameSettings     frameType = 0x4
	FramePushPromise  frameType = 0x5
	FramePing         frameType = 0x6
	FrameGoAway       frameType = 0x7
	FrameWindowUpdate frameType = 0x8
	FrameContinuation frameType = 0x9
)

// The flags of frames. The meaning of a bit depends on the type.
const (
	FlagEndStream  = 0x1  // DATA, HEADERS
	FlagAck        = 0x1  // SETTINGS, PING
	FlagEndHeaders = 0x4  // HEADERS, CONTINUATION
	FlagPadded     = 0x8  // DATA, HEADERS
	FlagPriority   = 0x20 // HEADERS
)

// A SettingID names a parameter of a SETTINGS frame. [RFC 9113, section 6.5.2]
type SettingID uint16

const (
	SettingHeaderTableSize   SettingID = 0x1
	SettingEnablePush        SettingID = 0x2
	SettingMaxStreams        SettingID = 0x3
	SettingInitialWindowSize SettingID = 0x4
	SettingMaxFrameSize      SettingID = 0x5
	SettingMaxHeaderListSize SettingID = 0x6
)

// A FrameHeader begins every frame. Length is that of the payload. [RFC 9113, section
// 4.1]
type FrameHeader struct {
	Length int
	Type   frameType
	flags  uint8
	Stream uint32
}

// Has reports whether a flag is set.
func (h FrameHeader) Has(flag uint8) bool { return h.flags&flag != 0 }

// ParseFrameHeader reads the first nine bytes of b.
func ParseFrameHeader(b []byte) FrameHeader {
	_ = b[FrameHeaderLen-1]
	return FrameHeader{
		Length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		Type:   frameType(b[3]),
		flags:  b[4],
		Stream: binary.BigEndian.Uint32(b[5:]) & StreamIDMax, // the first bit is reserved
	}
}

// AppendFrame appends the header of a frame whose payload, of length bytes, the caller
// appends.
func AppendFrame(b []byte, kind frameType, flags uint8, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// AppendRSTStream appends a RST_STREAM frame. [RFC 9113, section 6.4]
func AppendRSTStream(b []byte, stream uint32, code ErrCode) []byte {
	b = AppendFrame(b, FrameRSTStream, 0, stream, 4)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

// AppendWindowUpdate appends a WINDOW_UPDATE frame; stream 0 is the connection. [RFC
// 9113, section 6.9]
func AppendWindowUpdate(b []byte, stream uint32, n int) []byte {
	b = AppendFrame(b, FrameWindowUpdate, 0, stream, 4)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// AppendPing appends a PING frame, or the answer to one. [RFC 9113, section 6.7]
func AppendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags uint8
	if ack {
		flags = FlagAck
	}
	b = AppendFrame(b, FramePing, flags, 0, len(data))
	return append(b, data[:]...)
}

// AppendGoAway appends a GOAWAY frame with a reason for people. [RFC 9113, section 6.8]
func AppendGoAway(b []byte, last uint32, code ErrCode, reason string) []byte {
	b = AppendFrame(b, FrameGoAway, 0, 0, 8+len(reason))
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, reason...)
}

// A Setting is one parameter of a SETTINGS frame.
type Setting struct {
	ID    SettingID
	Value uint32
}

// AppendSettings appends a SETTINGS frame. [RFC 9113, section 6.5]
func AppendSettings(b []byte, settings ...Setting) []byte {
	b = AppendFrame(b, FrameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Value)
	}
	return b
}
