// SPDX-License-Identifier: Apache-2.0

// A connection: what its two ends have in common.

package h2

import (
	"bufio"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	readBuffer  = 32 << 10 // of the reading goroutine
	bulkFrame   = 16 << 10 // DATA of this length is likely to be followed by more
	bulkPeek    = 1 << 10  // read for the header of the next frame then
	resetsMin   = 128      // streams whose late frames are let pass, at least
	resetsMax   = 4096
	closeLinger = time.Second
	closeDrain  = 256 << 10
)

// limits are what one end grants the other, and its patience.
type limits struct {
	maxStreams      uint32        // that the peer may have open; 0: push, that is none
	maxFrame        int           // payload of a frame that is read
	maxHeaderList   int           // of one field section, counted as [RFC 9113, section 6.5.2] does
	decoderTable    uint32        // HPACK tables
	encoderTable    uint32        //
	streamWindow    int           // receive window of a stream at first
	maxStreamWindow int           // what it may grow to
	connWindow      int           // receive window of the connection
	writeTimeout    time.Duration // for the peer to take something; 0: none
	burst, rate     int           // of the buckets
	countError      func(string)  // may be nil
}

// A side is the half of a connection that differs between client and server. The
// reading goroutine calls its methods.
type side interface {
	// headers takes the field section in conn.fields. s is nil if the stream is
	// not open.
	headers(s *stream, id uint32, end bool) error
	// settled says that the peer's settings have changed. With conn.mu held.
	settledLocked()
	// goAway says that the peer will not take streams after last.
	goAway(last uint32, code ErrCode, reason string)
	// over says that the connection has ended. With conn.mu held.
	overLocked(err error)
}

// A conn is one HTTP/2 connection. One goroutine reads and parses what arrives;
// whoever has something to say writes it (see [conn.flush]).
//
// Locks: mu before the mutex of an inbox. No goroutine waits while it holds mu.
type conn struct {
	nc     net.Conn
	side   side
	limits limits

	// Of the reading goroutine.
	br        *bufio.Reader
	dec       *wire.Decoder
	fields    wire.FieldSection
	block     []byte // a field section that came in several pieces
	began     wire.FrameHeader
	continued int // CONTINUATION frames of the section under way
	greeted   bool
	buckets   buckets
	woken     []*stream       // have news, which they learn before the next read waits
	starts    []*serverStream // of new requests; nil: was started
	bulk      bool            // the last frame was long DATA
	answers   bool            // frames were appended that nobody flushes
	faults    []string        // to be told to countError, without mu
	lastRead  atomic.Int64    // time.Now().UnixNano of the last bytes
	reads     atomic.Uint64   // reads from the network that brought some

	unread atomic.Int64 // bytes of all inboxes

	mu      sync.Mutex
	writer  writer
	enc     *wire.Encoder
	err     error // why the connection is over
	streams map[uint32]*stream
	waiting []*stream // their DATA waits for window or room
	maxID   uint32    // highest stream of the peer (server) or of ours (client)
	resets  []uint32  // streams that we reset, the last ones
	nresets int

	sendWindow     int64 // of the connection
	peerWindow     int64 // of a new stream
	peerFrame      int   // the largest that the peer takes
	peerMaxStreams uint32
	peerHeaderList uint32        // size of a field section that the peer accepts; 0: any
	recvLeft       int           // what the peer may still send
	owed           int           // what it sent and was not given back
	asked          time.Time     // when our settings were sent, until they are acknowledged
	rtt            time.Duration // how long that took; 0: not known
	pings          map[[8]byte]chan struct{}
	pingCount      uint64
	// How many frames of the peer our own make legitimate.
	earnedWindows, earnedPings int
}

func newConn(nc net.Conn, limits limits) *conn {
	c := &conn{
		nc:      nc,
		limits:  limits,
		writer:  newWriter(nc, limits.writeTimeout),
		buckets: newBuckets(limits.burst, limits.rate),
		streams: make(map[uint32]*stream),

		sendWindow:     wire.WindowStart,
		peerWindow:     wire.WindowStart,
		peerFrame:      wire.FrameSizeMin,
		peerMaxStreams: 1<<32 - 1,
		recvLeft:       wire.WindowStart,
	}
	c.fields.Limit = limits.maxHeaderList
	c.br = bufio.NewReaderSize(network{c}, readBuffer)
	c.enc = wire.NewEncoder(int(limits.encoderTable))
	// Until the peer has acknowledged our settings, its table may have the usual size.
	c.dec = wire.NewDecoder(max(limits.decoderTable, wire.TableSizeDefault), limits.maxHeaderList, &c.fields)
	c.lastRead.Store(time.Now().UnixNano())
	return c
}

// greet sends our settings, and the preface if there is one.
func (c *conn) greet(preface string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append(c.writer.out, preface...)
	settings := []wire.Setting{
		{ID: wire.SettingInitialWindowSize, Value: uint32(c.limits.streamWindow)},
		{ID: wire.SettingMaxFrameSize, Value: uint32(c.limits.maxFrame)},
		{ID: wire.SettingMaxHeaderListSize, Value: uint32(c.limits.maxHeaderList)},
	}
	if c.limits.maxStreams > 0 {
		settings = append(settings, wire.Setting{ID: wire.SettingMaxStreams, Value: c.limits.maxStreams})
	} else {
		settings = append(settings, wire.Setting{ID: wire.SettingEnablePush, Value: 0})
	}
	if c.limits.decoderTable != 4096 {
		settings = append(settings, wire.Setting{ID: wire.SettingHeaderTableSize, Value: c.limits.decoderTable})
	}
	out = wire.AppendSettings(out, settings...)
	c.asked = time.Now()
	if more := c.limits.connWindow - wire.WindowStart; more > 0 {
		out = wire.AppendWindowUpdate(out, 0, more)
		c.recvLeft += more
	}
	c.writer.out = out
	c.flushRelocking()
}

// read reads from the network. All who have news learn it before it waits.
func (c *conn) read(p []byte) (int, error) {
	c.tell()
	c.answer()
	n, err := c.nc.Read(p)
	if n > 0 {
		c.lastRead.Store(time.Now().UnixNano())
		c.reads.Add(1)
	}
	return n, err
}

// network is what the buffer of the reading goroutine is filled from.
type network struct{ c *conn }

// Read reads little while long DATA frames follow one another: only their headers
// are for the buffer, and what else it held would be copied once more.
func (w network) Read(p []byte) (int, error) {
	if w.c.bulk && len(p) > bulkPeek {
		p = p[:bulkPeek]
	}
	return w.c.read(p)
}

// fillFrom reads all of p, past the buffer if it is empty.
func (c *conn) fillFrom(p []byte) error {
	for len(p) > 0 {
		var n int
		var err error
		if c.br.Buffered() == 0 && len(p) >= bulkPeek {
			n, err = c.read(p)
		} else {
			n, err = c.br.Read(p)
		}
		p = p[n:]
		if err != nil && len(p) > 0 {
			return err
		}
	}
	return nil
}

// tell starts the handlers and wakes the readers that the last frames were for.
func (c *conn) tell() {
	for i, s := range c.starts {
		if s != nil { // not started inline
			c.starts[i] = nil
			s.start()
		}
	}
	c.starts = c.starts[:0]
	c.wakeReaders()
	for _, fault := range c.faults {
		c.limits.countError(fault)
	}
	c.faults = c.faults[:0]
}

// count remembers what the peer did wrong, for [http.HTTP2Config].CountError. Reading
// goroutine only.
func (c *conn) count(kind string, code ErrCode) {
	if c.limits.countError != nil {
		c.faults = append(c.faults, kind+strings.ToLower(code.String()))
	}
}

// wakeReaders wakes the readers that the last frames were for.
func (c *conn) wakeReaders() {
	for i, s := range c.woken {
		c.woken[i] = nil
		s.queued = false
		s.in.signal()
	}
	c.woken = c.woken[:0]
}

// answer sends what the reading goroutine has to say about the last frames, such as
// the acknowledgement of a PING. Those whom tell has woken may be about to send,
// too: one write is enough for all.
func (c *conn) answer() {
	if !c.answers {
		return
	}
	c.answers = false
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writer.crowd > 0 && !c.writer.sending {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.flushRelocking()
}

// wakeLater remembers that a stream has news. Reading goroutine only.
func (c *conn) wakeLater(s *stream) {
	if !s.queued {
		s.queued = true
		c.woken = append(c.woken, s)
	}
}

// ---- the end ----

// fail ends the connection at once. The first error counts. With mu held.
func (c *conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, s := range c.streams {
		s.stopLocked(err)
	}
	clear(c.streams)
	c.wakeSendersLocked()
	for _, answered := range c.pings {
		close(answered)
	}
	c.pings = nil
	c.side.overLocked(err)
	if c.writer.direct != nil {
		_ = c.nc.Close()
	} else {
		go c.nc.Close() // that of TLS says goodbye, and may wait for the peer
	}
}

// finish ends the connection after an error of the reading goroutine. A peer that
// broke a rule is told which, if it still listens.
func (c *conn) finish(err error) {
	var violation ConnError
	if !errors.As(err, &violation) || violation.Remote {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		c.mu.Lock()
		c.failLocked(err)
		c.mu.Unlock()
		c.tell()
		return
	}
	c.count("conn_", violation.Code)
	c.mu.Lock()
	if c.err == nil {
		for _, s := range c.streams {
			s.stopLocked(err)
		}
		clear(c.streams)
		c.appendGoAwayLocked(violation.Code, violation.Reason)
		c.flushRelocking()
	}
	c.mu.Unlock()
	c.tell()
	c.linger()
	c.mu.Lock()
	c.failLocked(err)
	c.mu.Unlock()
}

// sayGoAway appends a GOAWAY that owns up to every stream that was accepted. With
// mu held.
func (c *conn) appendGoAwayLocked(code ErrCode, reason string) {
	last := c.maxID
	if c.limits.maxStreams == 0 {
		last = 0 // a client accepts no streams
	}
	c.writer.out = wire.AppendGoAway(c.writer.out, last, code, reason)
}

// linger lets the peer read what was said last: closing a socket with unread input
// makes the system drop it.
func (c *conn) linger() {
	said := make(chan struct{})
	c.mu.Lock()
	c.afterWritingLocked(func() { close(said) })
	c.mu.Unlock()
	patience := time.NewTimer(closeLinger)
	defer patience.Stop()
	select {
	case <-said:
	case <-patience.C:
		return
	}
	if half, ok := c.nc.(closeWriter); ok {
		_ = half.CloseWrite()
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger))
		_, _ = io.CopyN(io.Discard, c.nc, closeDrain)
	}
}

// A closeWriter can say that it will write no more, and still read.
type closeWriter interface{ CloseWrite() error }

// hangUp ends the connection when what was said has been written. With mu held.
func (c *conn) hangUpLocked() {
	c.afterWritingLocked(func() {
		half, ok := c.nc.(closeWriter)
		if !ok || c.err != nil || half.CloseWrite() != nil {
			c.failLocked(errClosed)
			return
		}
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger)) // then the reading goroutine ends it
	})
}

// ---- what is said about streams ----

// abort resets a stream that may be open. With mu held; the caller flushes.
func (c *conn) abortLocked(s *stream, code ErrCode, cause error) {
	if c.err != nil || s.overLocked() {
		return
	}
	c.appendResetLocked(s.id, code)
	s.stopLocked(StreamError{StreamID: s.id, Code: code, Cause: cause})
	delete(c.streams, s.id)
}

// sayReset appends RST_STREAM and remembers that frames of the stream that are
// under way may be ignored. With mu held.
func (c *conn) appendResetLocked(id uint32, code ErrCode) {
	c.writer.out = wire.AppendRSTStream(c.writer.out, id, code)
	if len(c.resets) < min(max(resetsMin, int(c.limits.maxStreams)), resetsMax) {
		c.resets = append(c.resets, id)
	} else {
		c.resets[c.nresets%len(c.resets)] = id
		c.nresets++
	}
}

// recentlyReset reports whether late frames of a stream are to be let pass. With
// mu held.
func (c *conn) recentlyResetLocked(id uint32) bool {
	return slices.Contains(c.resets, id)
}

// earn counts a frame of ours with n bytes. Peers give windows back for a few
// kilobytes at a time, on the stream and on the connection. With mu held.
func (c *conn) earnLocked(n int) {
	c.earnedWindows += 2 + n/512
	c.earnedPings = min(c.earnedPings+1, defaultBurst)
}

// closeIfDone forgets a stream whose both halves are closed. With mu held.
func (c *conn) forgetIfDoneLocked(s *stream) {
	if s.sent && s.got {
		delete(c.streams, s.id)
	}
}

// ping sends a PING and returns a channel that is closed when it is answered or
// the connection is over. With mu held; the caller flushes.
func (c *conn) pingLocked() <-chan struct{} {
	answered := make(chan struct{})
	if c.err != nil {
		close(answered)
		return answered
	}
	c.pingCount++
	data := pingData(c.pingCount)
	if c.pings == nil {
		c.pings = make(map[[8]byte]chan struct{})
	}
	c.pings[data] = answered
	c.writer.out = wire.AppendPing(c.writer.out, false, data)
	return answered
}

func pingData(n uint64) (data [8]byte) {
	for i := range data {
		data[i] = byte(n >> (8 * i))
	}
	return data
}
