// SPDX-License-Identifier: Apache-2.0

// A connection: what client and server have in common.
//
// Invariants. One goroutine reads (see [reader]); any goroutine that has frames writes
// them (see [conn.flushRelocking]). Three structs show the owners: reader belongs to the
// reading goroutine, shared to the goroutine that holds conn.mu, and table, within
// shared, has the open streams. No goroutine waits for the network, for a peer or for a
// handler while it holds conn.mu, and no code of the user runs under it. The mutexes of an inbox
// and of a host are taken after conn.mu, never before.
//
// The name of a function that ends in Locked needs a mutex: conn.mu, or that of its
// receiver if it has one of its own, as host and inbox do. One that ends in Relocking
// needs conn.mu, releases it meanwhile and holds it when it returns: what was true
// before may be false after. TestLockNames checks the names, and builds with the race
// detector check the goroutines (see [mutex]).

package h2

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// limits are what one end grants the other, and how long it waits for it.
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

// A side is the half of a connection that differs between client and server. The reading
// goroutine calls its methods; the two that end in Locked also run when another
// goroutine ends the connection.
type side interface {
	// headers acts on the field section in reader.fields. s is nil if the stream is not
	// open.
	headers(s *stream, id uint32, end bool) error
	// settingsChangedLocked runs after the peer's SETTINGS were applied.
	settingsChangedLocked()
	// goAway acts on a GOAWAY: the peer processes no stream above last. [RFC 9113,
	// section 6.8]
	goAway(last uint32, code ErrCode, reason string)
	// connEndedLocked runs once, when the connection has ended.
	connEndedLocked(err error)
	// startHandlers starts the handlers of the requests that have arrived, before a read
	// that may wait.
	startHandlers()
	// batchEnded runs when all frames that have arrived were handled. It reports false
	// if another goroutine reads from now on.
	batchEnded() bool
}

// A conn is one HTTP/2 connection.
type conn struct {
	nc     net.Conn
	side   side
	limits limits

	rd       reader
	lastRead atomic.Int64  // clock at the last bytes
	reads    atomic.Uint64 // reads from the network that returned bytes
	// scarce is set while so many bytes lie unread that the peer may run out of the
	// connection's window: each read is then counted at once. Written with mu held.
	scarce atomic.Bool

	closing sync.WaitGroup // waits for the goroutines that close nc, also for writing only

	shared
}

// shared is what the goroutines of a connection share. mu guards it.
type shared struct {
	mu     mutex
	writer writer
	enc    *wire.Encoder
	err    error // why the connection is over
	// peerGoAway is the error of the peer's GOAWAY. It explains a later error of the
	// network.
	peerGoAway error
	table      table

	sendWindow flow.Send    // the connection's windows
	recvWindow flow.Receive //

	peerWindow     int64  // of a new stream
	peerFrame      int    // the largest that the peer takes
	peerMaxStreams uint32 // that we may have open
	peerHeaderList uint32 // size of a field section that the peer accepts; 0: any

	settingsSent time.Time     // when we sent SETTINGS; zero once they are acknowledged
	rtt          time.Duration // how long the acknowledgement took; 0: not known
	pings        map[[8]byte]chan struct{}
	pingCount    uint64
	// How many WINDOW_UPDATE and PING frames of the peer our own frames account for.
	windowCredit, pingCredit int
	resets                   bucket // streams that end prematurely
}

func newConn(nc net.Conn, limits limits) *conn {
	c := &conn{nc: nc, limits: limits}
	c.writer = newWriter(nc, limits.writeTimeout)
	c.table.open = make(map[uint32]*stream)
	c.sendWindow.Open(flow.Start)
	c.recvWindow.Open(limits.connWindow, flow.Start, limits.connWindow)
	c.peerWindow = flow.Start
	c.peerFrame = wire.FrameSizeMin
	c.peerMaxStreams = 1<<32 - 1

	c.rd.fields.Limit = limits.maxHeaderList
	c.rd.in.init(nc)
	c.rd.in.before, c.rd.in.after, c.rd.in.limit = c.beforeRead, c.afterRead, c.readLimit
	c.enc = wire.NewEncoder(int(limits.encoderTable))
	// Until the peer acknowledges our SETTINGS, its encoder may use the default table size.
	// [RFC 9113, section 6.5.3]
	c.rd.dec = wire.NewDecoder(max(limits.decoderTable, wire.TableSizeDefault), &c.rd.fields)
	c.lastRead.Store(clock())
	return c
}

// silent returns how long nothing has come from the peer.
func (c *conn) silent() time.Duration { return time.Duration(clock() - c.lastRead.Load()) }

// accepts reports whether the peer may open streams, which is so on the server's side.
func (c *conn) accepts() bool { return c.limits.maxStreams > 0 }

// greet sends our SETTINGS, after a client's preface, and the WINDOW_UPDATE that opens
// the connection's window beyond its initial 65,535 bytes. [RFC 9113, sections 3.4 and
// 6.9.2]
func (c *conn) greet(preface string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append(c.outLocked(), preface...)
	settings := []wire.Setting{
		{ID: wire.SettingInitialWindowSize, Value: uint32(c.limits.streamWindow)},
		{ID: wire.SettingMaxFrameSize, Value: uint32(c.limits.maxFrame)},
		{ID: wire.SettingMaxHeaderListSize, Value: uint32(c.limits.maxHeaderList)},
	}
	if c.accepts() {
		settings = append(settings, wire.Setting{ID: wire.SettingMaxStreams, Value: c.limits.maxStreams})
	} else {
		settings = append(settings, wire.Setting{ID: wire.SettingEnablePush, Value: 0})
	}
	if c.limits.decoderTable != wire.TableSizeDefault {
		settings = append(settings, wire.Setting{ID: wire.SettingHeaderTableSize, Value: c.limits.decoderTable})
	}
	out = wire.AppendSettings(out, settings...)
	c.settingsSent = time.Now()
	if more := c.recvWindow.GiveBack(); more > 0 {
		out = wire.AppendWindowUpdate(out, 0, more)
	}
	c.writer.out = out
	c.flushRelocking()
}

// giveBackLocked appends a WINDOW_UPDATE for the connection as soon as half of its
// window is unsent. If it reports true, the caller flushes.
//
// The window counts all streams together [RFC 9113, section 6.9.1]. Were bytes given
// back only when a reader took them, one stream that is not read would stop the others.
// So they are given back when they arrive, as long as no more than limits.connWindow lie
// unread in all (the window's ahead). Beyond, only reading gives back. Readers normally
// leave their bytes in stream.consumed until they are worth a frame; once the window is
// scarce, each of these bytes may be the one that the peer waits for, so they are
// collected here, and readers count each read at once.
func (c *conn) giveBackLocked() bool {
	c.mu.assertHeld()
	if waits := c.recvWindow.Scarce(); waits != c.scarce.Load() {
		c.scarce.Store(waits)
		if waits {
			// Readers that had not seen scarce left their bytes in consumed.
			for _, s := range c.table.open {
				s.countLocked()
			}
		}
	}
	if !c.recvWindow.Due() || c.err != nil {
		return false
	}
	c.writer.out = wire.AppendWindowUpdate(c.outLocked(), 0, c.recvWindow.GiveBack())
	return true
}

// addCreditLocked counts a frame of ours with n bytes of DATA, for which the peer may
// answer. Peers give windows back a few kilobytes at a time, on the stream and on the
// connection, and gRPC's clients send PINGs to measure.
func (c *conn) addCreditLocked(n int) {
	c.windowCredit += 2 + n/512
	c.pingCredit = min(c.pingCredit+1, defaultBurst)
}

// pingLocked appends a PING. The channel is closed when the peer answers or the
// connection ends. The caller flushes.
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
	c.writer.out = wire.AppendPing(c.outLocked(), false, data)
	return answered
}

// pingData returns the payload of the nth PING. [RFC 9113, section 6.7]
func pingData(n uint64) (data [8]byte) {
	for i := range data {
		data[i] = byte(n >> (8 * i))
	}
	return data
}
