// SPDX-License-Identifier: Apache-2.0

// A connection: what its two ends have in common.
//
// Invariants. One goroutine reads (see [reader]); any goroutine that has frames writes
// (see [conn.flushRelocking]). Three structs show the owners: reader belongs to the
// reading goroutine, shared to the goroutine that holds mu, and table, within shared,
// has the streams that are open. No goroutine waits while it holds mu, and no code of
// the user runs under it. mu is taken before the mutex of an inbox.
//
// The name of a function that ends in Locked needs mu, and one that ends in Relocking
// needs it, releases it meanwhile and holds it when it returns: what was true before
// may not be true after. Builds with the race detector check both (see [mutex]).

package h2

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
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
	// headers takes the field section in reader.fields. s is nil if the stream is
	// not open.
	headers(s *stream, id uint32, end bool) error
	// settledLocked takes the peer's settings, which have changed.
	settingsChangedLocked()
	// goAway takes a GOAWAY: the peer will not take streams after last.
	goAway(last uint32, code ErrCode, reason string)
	// overLocked takes the end of the connection.
	connEndedLocked(err error)
	// start starts what the last frames have begun, before a read that may wait.
	startHandlers()
	// batchEnded is called when all frames that have arrived were handled. It reports
	// false if another goroutine reads from now on.
	batchEnded() bool
}

// A conn is one HTTP/2 connection.
type conn struct {
	nc     net.Conn
	side   side
	limits limits

	rd       reader
	lastRead atomic.Int64  // time.Now().UnixNano of the last bytes
	reads    atomic.Uint64 // reads from the network that brought some
	// scarce is set while so much lies unread that the peer may run out of the
	// connection's window: each read is then counted at once. Written with mu held.
	scarce atomic.Bool

	closing sync.WaitGroup // until nc is closed

	shared
}

// shared is what the goroutines of a connection share. mu guards it.
type shared struct {
	mu     mutex
	writer writer
	enc    *wire.Encoder
	err    error // why the connection is over
	// farewell is what the peer's GOAWAY said. It explains an end that the network
	// reports.
	peerGoAway error
	table      table

	sendWindow flow.Send    // the connection's windows
	recvWindow flow.Receive //

	peerWindow     int64 // of a new stream
	peerFrame      int   // the largest that the peer takes
	peerMaxStreams uint32
	peerHeaderList uint32 // size of a field section that the peer accepts; 0: any

	settingsSent time.Time     // when our settings were sent, until they are acknowledged
	rtt          time.Duration // how long that took; 0: not known
	pings        map[[8]byte]chan struct{}
	pingCount    uint64
	// How many frames of the peer our own make legitimate.
	windowCredit, pingCredit int
	resets                   bucket // streams that end early
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
	c.resets = bucket{burst: limits.burst, rate: limits.rate}

	c.rd.buckets = newBuckets(limits.burst, limits.rate)
	c.rd.fields.Limit = limits.maxHeaderList
	c.rd.in.init(nc)
	c.rd.in.before, c.rd.in.after, c.rd.in.limit = c.beforeRead, c.afterRead, c.readLimit
	c.enc = wire.NewEncoder(int(limits.encoderTable))
	// Until the peer has acknowledged our settings, its table may have the usual size.
	c.rd.dec = wire.NewDecoder(max(limits.decoderTable, wire.TableSizeDefault), &c.rd.fields)
	c.lastRead.Store(time.Now().UnixNano())
	return c
}

// accepts reports whether the peer may open streams: on the side of a server.
func (c *conn) accepts() bool { return c.limits.maxStreams > 0 }

// greet sends our settings, and the preface if there is one.
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

// giveBackLocked gives the connection's window back as soon as half of it is owed:
// on receipt, so that a stream that is not read never stops the others, as long as
// not too much lies unread in all. If it reports true, the caller flushes.
func (c *conn) giveBackLocked() bool {
	c.mu.assertHeld()
	if waits := c.recvWindow.Scarce(); waits != c.scarce.Load() {
		c.scarce.Store(waits)
		if waits {
			// Readers that have not seen scarce have left what they read in consumed.
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

// earnLocked counts a frame of ours with n bytes. Peers give windows back for a few
// kilobytes at a time, on the stream and on the connection.
func (c *conn) addCreditLocked(n int) {
	c.windowCredit += 2 + n/512
	c.pingCredit = min(c.pingCredit+1, defaultBurst)
}

// pingLocked appends a PING and returns a channel that is closed when it is answered
// or the connection is over. The caller flushes.
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

func pingData(n uint64) (data [8]byte) {
	for i := range data {
		data[i] = byte(n >> (8 * i))
	}
	return data
}
