// SPDX-License-Identifier: Apache-2.0

// Tests of every contender's answers, and of the check that finds wrong ones.

package main

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// TestContenders makes a handful of calls of every kind with every contender, by
// two callers, and compares the answers byte by byte.
func TestContenders(t *testing.T) {
	const callers, calls, count = 2, 3, 7
	for _, e := range entries {
		for _, w := range works {
			if !e.does(w) {
				continue
			}
			t.Run(e.String()+"/"+w.name, func(t *testing.T) {
				b, err := openBooth(t.Context(), e, w, callers, w.payload())
				if err != nil {
					t.Fatal(err)
				}
				err = b.each(func(c *caller) error {
					c.reset()
					c.strict = true
					for range calls {
						if err := c.call(t.Context(), count); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				units := int64(calls)
				if w.kind != echo {
					units = calls * count
				}
				for _, c := range b.callers {
					if c.units != units {
						t.Errorf("caller %d: got %d units, want %d", c.number, c.units, units)
					}
					if got, want := len(c.latencies), calls; w.kind != chat && got != want {
						t.Errorf("caller %d: got %d latencies, want %d", c.number, got, want)
					}
				}
				if writes, err := writeCalls(); err != nil || runtime.GOOS == "linux" && writes == 0 {
					t.Errorf("got %d writes and error %v, want some: they are not counted", writes, err)
				}
				if err := b.contender.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestEveryWorkHasRivals checks that every work has another library to compare ours
// with, and a floor.
func TestEveryWorkHasRivals(t *testing.T) {
	for _, w := range works {
		var who []string
		for _, e := range entries {
			if e.does(w) {
				who = append(who, e.library)
			}
		}
		all := strings.Join(who, " ")
		for _, library := range []string{ours, connectGo, grpcGo, bareHTTP} {
			if !strings.Contains(all, library) {
				t.Errorf("%s: got %s, want %s among them", w.name, all, library)
			}
		}
	}
}

// liar is a contender whose answers are wrong.
type liar struct {
	answer []byte
	short  int // messages that are missing
	err    error
}

func (l liar) echo(context.Context, int, []byte) ([]byte, error) { return l.answer, l.err }

func (l liar) download(_ context.Context, _ int, _ []byte, count int, receive func([]byte) error) error {
	for range count - l.short {
		if err := receive(l.answer); err != nil {
			return err
		}
	}
	return l.err
}

func (l liar) upload(_ context.Context, _ int, _ []byte, count int) (int, []byte, error) {
	return count - l.short, l.answer, l.err
}

func (l liar) chat(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	return l.download(ctx, caller, data, count, receive)
}

func (liar) Close() error { return nil }

func TestWrongAnswers(t *testing.T) {
	broken := errors.New("broken")
	for _, w := range works {
		data := w.payload()
		twisted := bytes.Clone(data)
		twisted[len(twisted)/2]++
		for _, test := range []struct {
			name   string
			liar   liar
			strict bool
			wrong  bool
		}{
			{"right", liar{answer: data}, true, false},
			{"twisted", liar{answer: twisted}, true, true},
			{"twisted, not looked at", liar{answer: twisted}, false, false},
			{"cut", liar{answer: data[1:]}, false, true},
			{"fewer messages", liar{answer: data, short: 1}, false, w.kind != echo},
			{"error", liar{answer: data, err: broken}, false, true},
		} {
			c := newCaller(0, test.liar, w, data, 10)
			c.strict = test.strict
			if err := c.call(t.Context(), 5); (err != nil) != test.wrong {
				t.Errorf("%s, %s: got %v, want an error: %t", w.name, test.name, err, test.wrong)
			}
		}
	}
}

func TestPayload(t *testing.T) {
	for _, w := range works {
		if got := len(w.payload()); got != w.size {
			t.Errorf("%s: got %d bytes, want %d", w.name, got, w.size)
		}
	}
}
