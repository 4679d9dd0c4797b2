// SPDX-License-Identifier: Apache-2.0

// The phases of a client's exchange, as conn_client.go draws them.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func (p phase) String() string {
	return [...]string{"idle", "sent", "answered", "abandoned", "released"}[p]
}

// TestPhases drives conns through all ways of the drawing and out of them. Each step
// is followed by the phase that it leads to.
func TestPhases(t *testing.T) {
	for name, c := range map[string]struct {
		steps string // words, separated by spaces
		sends int    // requests that the transport gets
		opens int    // responses that are not closed in the end
	}{
		"nothing":                  {"", 0, 0},
		"closed at once":           {"close released close released", 0, 0},
		"sent after close":         {"close released send released end released receive released", 0, 0},
		"sent":                     {"send sent send sent answer answered", 1, 1},
		"sent by its end":          {"end sent answer answered end answered", 1, 1},
		"read to its end":          {"send sent end sent answer answered receive released close released", 1, 0},
		"closed unread":            {"send sent answer answered close released receive released", 1, 0},
		"failed":                   {"send sent fail answered receive released", 1, 0},
		"failed, closed":           {"send sent fail answered close released", 1, 0},
		"closed before the answer": {"send sent close abandoned close abandoned answer released", 1, 0},
		"closed before it fails":   {"send sent close abandoned fail released", 1, 0},
		"sent when abandoned":      {"send sent close abandoned send abandoned answer released", 1, 0},
		"context ends first":       {"cancel idle send idle receive released", 0, 0},
		"context ends when sent":   {"send sent cancel sent receive abandoned answer released", 1, 0},
		"context ends, closed":     {"send sent end sent cancel sent close abandoned answer released", 1, 0},
		"context ends, answered":   {"send sent cancel sent answer answered receive released", 1, 0},
		"context ends when read":   {"send sent answer answered cancel answered receive released", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &phaseDriver{answers: make(chan error, 1)}
				config, err := newClientConfig(&http.Client{Transport: roundTripper(d.roundTrip)}, "http://host/a/b", nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				d.cancel, d.conn = cancel, newStreamConn(ctx, config, Spec{StreamType: StreamTypeBidi})
				defer cancel()
				defer d.conn.cancel()
				if got := d.conn.now(); got != phaseIdle {
					t.Errorf("at first: got %v, want %v", got, phaseIdle)
				}
				steps := strings.Fields(c.steps)
				for i := 0; i < len(steps); i += 2 {
					d.step(t, steps[i])
					synctest.Wait()
					if got := d.conn.now().String(); got != steps[i+1] {
						t.Fatalf("after %v: got %s, want %s", steps[:i+1], got, steps[i+1])
					}
				}
				if d.sends != c.sends || d.opens != c.opens {
					t.Errorf("got %d requests and %d open responses, want %d and %d", d.sends, d.opens, c.sends, c.opens)
				}
			})
		})
	}
}

// phaseDriver makes the steps of TestPhases. It is also the transport, which does not
// return when the context ends.
type phaseDriver struct {
	conn         *clientConn
	cancel       context.CancelFunc
	answers      chan error // RoundTrip waits for one
	sends, opens int
}

func (d *phaseDriver) roundTrip(*http.Request) (*http.Response, error) {
	d.sends++
	if err := <-d.answers; err != nil {
		return nil, err
	}
	d.opens++
	return &http.Response{
		StatusCode: http.StatusOK,
		ProtoMajor: 2,
		Header:     http.Header{headerContentType: {"application/connect+proto"}},
		Body:       &phaseBody{strings.NewReader("\x02\x00\x00\x00\x02{}"), d},
	}, nil
}

// phaseBody is a response without messages. It counts itself while it is open.
type phaseBody struct {
	io.Reader
	driver *phaseDriver
}

func (b *phaseBody) Close() error {
	b.driver.opens--
	return nil
}

// step makes one step.
func (d *phaseDriver) step(t *testing.T, name string) {
	switch name {
	case "send": // may fail because the call has ended
		_ = d.conn.Send(text(1))
	case "end":
		_ = d.conn.CloseRequest()
	case "answer":
		d.answers <- nil
	case "fail":
		d.answers <- errors.New("of a test")
	case "receive":
		if err := d.conn.Receive(text(1)); err == nil {
			t.Errorf("%s: got a message, want an error", name)
		}
	case "close":
		_ = d.conn.CloseResponse()
	case "cancel":
		d.cancel()
	default:
		t.Fatal(fmt.Errorf("no step %q", name))
	}
}

// TestContextEndedBeforeSend: an error of the message comes before that of the context,
// and a call that could be sent is canceled. With connect-go's meaning the transport sees
// the latter.
func TestContextEndedBeforeSend(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		limit int
		want  Code
		seen  int // calls that connect-go's transport sees
	}{{1, CodeResourceExhausted, 0}, {100, CodeCanceled, 1}} {
		for _, kind := range []StreamType{StreamTypeUnary, StreamTypeServer, StreamTypeClient, StreamTypeBidi} {
			for _, options := range [][]ClientOption{nil, {WithConnectGoBehavior()}} {
				synctest.Test(t, func(t *testing.T) {
					seen := 0
					transport := roundTripper(func(r *http.Request) (*http.Response, error) {
						seen++
						return nil, r.Context().Err()
					})
					config, err := newClientConfig(&http.Client{Transport: transport}, "http://host/a/b", append(options, WithSendMaxBytes(c.limit)))
					if err != nil {
						t.Fatal(err)
					}
					conn := newUnaryConn(ctx, config, new(arrived))
					if kind != StreamTypeUnary {
						conn = newStreamConn(ctx, config, Spec{StreamType: kind})
					}
					err = conn.Send(wrapperspb.String("longer than a byte"))
					conn.release()
					synctest.Wait()
					want := c.seen * len(options)
					if got := CodeOf(err); got != c.want || seen != want {
						t.Errorf("%v, %d options, limit of %d bytes: got %v (%v) and %d calls of the transport, want %v and %d", kind, len(options), c.limit, got, err, seen, c.want, want)
					}
				})
			}
		}
	}
}

// closingCodec closes the response while it encodes, as another goroutine may.
type closingCodec struct {
	Codec
	conn *clientConn
}

func (c *closingCodec) Marshal(msg any) ([]byte, error) {
	_ = c.conn.CloseResponse()
	return c.Codec.Marshal(msg)
}

// TestClosedWhileSending closes the response between the first look at the phase and the
// request: nothing is sent, and Send returns an error.
func TestClosedWhileSending(t *testing.T) {
	for _, options := range [][]ClientOption{nil, {WithConnectGoBehavior()}} {
		codec := &closingCodec{Codec: jsonCodec{}}
		transport := roundTripper(func(*http.Request) (*http.Response, error) {
			t.Error("got a request, want none")
			return nil, errors.New("of a test")
		})
		config, err := newClientConfig(&http.Client{Transport: transport}, "http://host/a/b", append(options, WithCodec(codec)))
		if err != nil {
			t.Fatal(err)
		}
		codec.conn = newStreamConn(t.Context(), config, Spec{StreamType: StreamTypeServer})
		if err := codec.conn.Send(wrapperspb.String("x")); err == nil {
			t.Error("got no error, want one")
		}
		_ = codec.conn.CloseRequest()
		if err := codec.conn.Receive(new(wrapperspb.StringValue)); err == nil {
			t.Error("got a message, want an error")
		}
	}
}

// slowContext lets other goroutines run before it says whether it has ended.
type slowContext struct{ context.Context }

func (c slowContext) Err() error {
	for range 10 {
		runtime.Gosched()
	}
	return c.Context.Err()
}

// TestClosedAtOnce closes calls that were not sent from two goroutines each: neither reads
// what the other writes, as the race detector sees.
func TestClosedAtOnce(t *testing.T) {
	config, err := newClientConfig(http.DefaultClient, "http://host/a/b", []ClientOption{WithConnectGoBehavior()})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		conn := newStreamConn(slowContext{t.Context()}, config, Spec{StreamType: StreamTypeServer})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { _ = conn.CloseResponse() })
		}
		both.Wait()
		if err := conn.Receive(text(1)); CodeOf(err) != CodeInternal {
			t.Fatalf("got %v, want CodeInternal", err)
		}
	}
}
