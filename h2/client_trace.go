// SPDX-License-Identifier: Apache-2.0

// What the caller's goroutine reports to a trace while it sends a request.
//
// Invariants. The functions of a trace run without locks. One that panics, or ends the
// goroutine, leaves no place taken and no body open: the program may recover and go on.

package h2

import "errors"

var errTraceLeft = errors.New("h2: a function of the trace did not return")

// traceSending reports to the trace the connection and the fields that are about to be
// written.
func (s *clientStream) traceSending(d directBody) {
	returned := false
	defer func() {
		if !returned {
			s.cc.giveBack()
			s.sender.drop()
			s.sender.close()
		}
	}()
	if s.trace.GotConn != nil {
		s.trace.GotConn(s.cc.info())
	}
	if s.trace.WroteHeaderField != nil {
		s.fields(d, func(name, value string) { s.trace.WroteHeaderField(name, []string{value}) })
	}
	returned = true
}

// traceSent reports to the trace that the head was written, and all of the request if
// all is set, or that the body waits for the peer. The response may come sooner.
func (s *clientStream) traceSent(all bool) {
	returned := false
	defer func() {
		if !returned {
			s.giveUp(errTraceLeft)
			s.discard(errTraceLeft)
			s.sender.drop()
			s.sender.close()
		}
	}()
	if s.trace.WroteHeaders != nil {
		s.trace.WroteHeaders()
	}
	if all {
		s.sender.wrote(nil)
	}
	if s.sender.waitsForPeer() && s.trace.Wait100Continue != nil {
		s.trace.Wait100Continue()
	}
	returned = true
}
