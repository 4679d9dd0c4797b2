// SPDX-License-Identifier: Apache-2.0

// Refusals: an error with the time after which to call again. On the direct path the
// response is kept, because a server that is overloaded writes many that are the same.

package overload

import (
	"bytes"
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// The reasons of refusals, as indices.
const (
	byLimit = iota
	byStreams
	byRate
	reasons
)

var (
	errLimit   = errors.New("the server has as many calls as it can serve in time: call again later, as the error's metadata says")
	errStreams = errors.New("the server has as many streams as it may have (overload.Streams): call again later, as the error's metadata says")
)

// A refusal is why a call was not let in, and when it may come again.
type refusal struct {
	text error
	wait time.Duration
	stop bool // for gRPC's clients: not again
}

// jittered returns a time to wait until some of the calls at once have ended. It is random,
// so that those that were refused together do not come together.
func jittered() time.Duration { return 50*time.Millisecond + rand.N(100*time.Millisecond) }

// pushback returns the milliseconds to wait, -1 for not again. It rounds up, by at most a
// sixty-fourth, so that there are few different values.
func (r *refusal) pushback() int64 {
	if r.stop {
		return -1
	}
	ms := uint64(max(0, (r.wait+time.Millisecond-1)/time.Millisecond))
	if drop := bits.Len64(ms) - 7; drop > 0 {
		ms = (ms + 1<<drop - 1) >> drop << drop
	}
	return int64(ms)
}

// refuse answers a call with the error of a refusal.
func (l *Limiter) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	err := connect.NewError(connect.CodeResourceExhausted, no.text)
	ms := no.pushback()
	seconds := (ms + 999) / 1000
	if no.stop {
		seconds = int64(no.wait / time.Second)
	}
	meta := err.Meta()
	meta["Grpc-Retry-Pushback-Ms"] = []string{strconv.FormatInt(ms, 10)}
	meta["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
	_ = l.errors.Write(w, r, err)
}

// ---- the direct path ----

const (
	answersMax = 4096 // that are kept
	askedMax   = 64   // bytes of a content type whose answers are kept
)

// An answerKey is all on which a refusal's response depends.
type answerKey struct {
	contentType, version string
	text                 error
	pushback             int64
}

// An answer is a response that was written once. It does not change.
type answer struct {
	status           int
	fields, trailers [][2]string
	body             []byte
}

// answers are the responses that were written. mu guards kept.
type answers struct {
	mu   sync.RWMutex
	kept map[answerKey]*answer
}

// refuseDirect is refuse for a direct call.
func (l *Limiter) refuseDirect(call direct.Call, ctx context.Context, path string, fields [][2]string, host, remote string, no *refusal) {
	key := answerKey{text: no.text, pushback: no.pushback()}
	for i := range fields {
		switch fields[i][0] {
		case fieldType:
			key.contentType = fields[i][1]
		case fieldVersion:
			key.version = fields[i][1]
		}
	}
	if l.ownErrors || len(key.contentType)+len(key.version) > askedMax { // hooks see each error
		l.refuse(call, requestOf(ctx, path, key, host, remote), no)
		return
	}
	l.answers.mu.RLock()
	a := l.answers.kept[key]
	l.answers.mu.RUnlock()
	if a == nil {
		made := &recorder{Call: call, header: make(http.Header)}
		l.refuse(made, requestOf(ctx, path, key, host, remote), no)
		a = made.answer()
		key.contentType, key.version = strings.Clone(key.contentType), strings.Clone(key.version)
		l.answers.mu.Lock()
		if l.answers.kept == nil || len(l.answers.kept) >= answersMax { // clients may make up content types: begin anew
			l.answers.kept = make(map[answerKey]*answer)
		}
		l.answers.kept[key] = a
		l.answers.mu.Unlock()
	}
	a.write(call)
}

func (a *answer) write(call direct.Call) {
	for i := range a.fields {
		call.DirectField(a.fields[i][0], a.fields[i][1])
	}
	call.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = call.Write(a.body)
	}
	for i := range a.trailers {
		call.DirectTrailer(a.trailers[i][0], a.trailers[i][1])
	}
}

// A recorder keeps what is written to it. It has the methods of a direct call, so that
// package connect takes it for an engine's.
type recorder struct {
	direct.Call
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Flush()                      {}

// answer returns what was written.
func (r *recorder) answer() *answer {
	a := &answer{status: r.status, body: r.body.Bytes()}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	for key, values := range r.header {
		into := &a.fields
		name, isTrailer := strings.CutPrefix(key, http.TrailerPrefix)
		if isTrailer {
			into = &a.trailers
		}
		for _, value := range values {
			*into = append(*into, [2]string{strings.ToLower(name), value})
		}
	}
	return a
}

// requestOf returns what an ErrorWriter needs of a direct call.
func requestOf(ctx context.Context, path string, key answerKey, host, remote string) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: path}, RequestURI: path, Host: host, RemoteAddr: remote,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, 2), Body: http.NoBody,
	}
	if key.contentType != "" {
		r.Header["Content-Type"] = []string{key.contentType}
	}
	if key.version != "" {
		r.Header["Connect-Protocol-Version"] = []string{key.version}
	}
	return r.WithContext(ctx)
}
