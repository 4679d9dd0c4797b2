// SPDX-License-Identifier: Apache-2.0

// The schedule: every case in rounds, in each round every contender for a slice
// of time.

package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	roundsMin   = 3                     // however long they take
	warmShare   = 0.1                   // of a slice, before it is measured
	sliceMin    = 20 * time.Millisecond // shorter ones measure little
	strictCount = 10                    // messages of the streams whose answers are compared byte by byte
	sampleRoom  = 1 << 18               // latencies of a slice that cost no memory
)

// settings are the values of the flags.
type settings struct {
	works   []work
	entries []entry
	callers []int
	rounds  int
	budget  time.Duration
}

// A measurement is the cost of one slice, per unit.
type measurement struct {
	CPU    float64 `json:"cpu_ns"` // of the process
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`  // allocated
	Writes float64 `json:"writes"` // to sockets
	Rate   float64 `json:"per_second"`
	P50    float64 `json:"p50_ns"`
	P99    float64 `json:"p99_ns"`
}

// A result is the cost of one contender in one case.
type result struct {
	Library   string        `json:"library"`
	Protocol  string        `json:"protocol"`
	Transport string        `json:"transport"`
	Median    measurement   `json:"median"`
	Rounds    []measurement `json:"rounds"`
}

// A caseReport has the results of a work with a number of callers.
type caseReport struct {
	Work    string   `json:"work"`
	Unit    string   `json:"unit"`
	Callers int      `json:"callers"`
	Results []result `json:"results"`
	Ratios  []versus `json:"ratios"`

	work work
}

// run measures every case. Each has an equal share of the time that is left; when
// it is used up no further round begins, after the first few.
func run(ctx context.Context, s settings, done func(caseReport)) ([]caseReport, error) {
	cells := 0
	for _, w := range s.works {
		cells += s.contending(w) * len(s.callers)
	}
	var reports []caseReport
	end := time.Now().Add(s.budget)
	for _, w := range s.works {
		for _, callers := range s.callers {
			n := s.contending(w)
			if n == 0 {
				continue
			}
			share := time.Until(end) * time.Duration(n) / time.Duration(cells)
			cells -= n
			report, err := s.runCase(ctx, w, callers, share)
			if err != nil {
				return nil, fmt.Errorf("%s with %d callers: %w", w.name, callers, err)
			}
			done(report)
			reports = append(reports, report)
		}
	}
	return reports, nil
}

// contending returns how many entries take part in a work.
func (s settings) contending(w work) int {
	n := 0
	for _, e := range s.entries {
		if e.does(w) {
			n++
		}
	}
	return n
}

// runCase opens all contenders of a work and measures them in turn.
func (s settings) runCase(ctx context.Context, w work, callers int, share time.Duration) (report caseReport, err error) {
	begin := time.Now()
	var booths []*booth
	defer func() {
		for _, b := range booths {
			if closeErr := b.contender.Close(); closeErr != nil && err == nil {
				err = fmt.Errorf("%s: close: %w", b.entry, closeErr)
			}
		}
	}()
	data := w.payload()
	for _, e := range s.entries {
		if !e.does(w) {
			continue
		}
		b, err := openBooth(ctx, e, w, callers, data)
		if b != nil {
			booths = append(booths, b)
		}
		if err != nil {
			return report, fmt.Errorf("%s: %w", e, err)
		}
	}
	slice := max(sliceMin, (share-time.Since(begin))/time.Duration(len(booths)*s.rounds))
	for round := 0; round < s.rounds && (round < roundsMin || time.Since(begin) < share); round++ {
		for _, i := range rotation(len(booths), round) {
			if err := booths[i].measure(ctx, slice); err != nil {
				return report, fmt.Errorf("%s: %w", booths[i].entry, err)
			}
		}
	}
	report = caseReport{Work: w.name, Unit: w.unit(), Callers: callers, work: w}
	for _, b := range booths {
		report.Results = append(report.Results, b.result())
	}
	report.Ratios = compare(report.Results)
	return report, nil
}

// A booth is an open contender with its callers.
type booth struct {
	entry     entry
	network   *network
	contender contender
	callers   []*caller
	rounds    []measurement
	latencies []time.Duration
}

// openBooth opens a contender and checks, once for each caller, that its answers
// are right to the byte. Later calls compare only the length.
func openBooth(ctx context.Context, e entry, w work, callers int, data []byte) (*booth, error) {
	b := &booth{entry: e, network: new(network)}
	var err error
	if b.contender, err = e.open(b.network, w, callers); err != nil {
		return nil, err
	}
	for i := range callers {
		b.callers = append(b.callers, newCaller(i, b.contender, w, data, sampleRoom/callers))
	}
	return b, b.each(func(c *caller) error {
		c.strict = true
		err := c.call(ctx, strictCount)
		c.strict = false
		return err
	})
}

// each does something with every caller at the same time.
func (b *booth) each(do func(*caller) error) error {
	errs := make([]error, len(b.callers))
	var all sync.WaitGroup
	for i, c := range b.callers {
		all.Go(func() { errs[i] = do(c) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// spin lets all callers call for a time. The calls that are under way at its end
// are finished.
func (b *booth) spin(ctx context.Context, length time.Duration) error {
	for _, c := range b.callers {
		c.reset()
	}
	end := time.Now().Add(length)
	return b.each(func(c *caller) error {
		for ctx.Err() == nil && time.Now().Before(end) {
			if err := c.call(ctx, c.work.count); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// measure spends one slice. A contender begins it warm and after a collection, so
// that it does not pay for the garbage of the one before.
func (b *booth) measure(ctx context.Context, slice time.Duration) error {
	warm := time.Duration(warmShare * float64(slice))
	if err := b.spin(ctx, warm); err != nil {
		return err
	}
	runtime.GC()
	before, err := look()
	if err != nil {
		return err
	}
	if err := b.spin(ctx, slice-warm); err != nil {
		return err
	}
	after, err := look()
	if err != nil {
		return err
	}
	var units int64
	b.latencies = b.latencies[:0]
	for _, c := range b.callers {
		units += c.units
		b.latencies = append(b.latencies, c.latencies...)
	}
	slices.Sort(b.latencies)
	b.rounds = append(b.rounds, after.since(before, units, b.latencies))
	return nil
}

// reading is the state of the process's meters.
type reading struct {
	at            time.Time
	cpu           time.Duration
	allocs, bytes uint64
	writes        int64
}

func look() (reading, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	cpu, err := cpuTime()
	if err != nil {
		return reading{}, fmt.Errorf("read CPU time: %w", err)
	}
	writes, err := writeCalls()
	if err != nil {
		return reading{}, fmt.Errorf("read calls of write: %w", err)
	}
	return reading{time.Now(), cpu, memory.Mallocs, memory.TotalAlloc, writes}, nil
}

// since returns the cost of a unit between two readings.
func (r reading) since(before reading, units int64, sorted []time.Duration) measurement {
	n := float64(units)
	return measurement{
		CPU:    float64(r.cpu-before.cpu) / n,
		Allocs: float64(r.allocs-before.allocs) / n,
		Bytes:  float64(r.bytes-before.bytes) / n,
		Writes: float64(r.writes-before.writes) / n,
		Rate:   n / r.at.Sub(before.at).Seconds(),
		P50:    float64(percentile(sorted, 50)),
		P99:    float64(percentile(sorted, 99)),
	}
}

func (b *booth) result() result {
	return result{
		Library: b.entry.library, Protocol: b.entry.protocol, Transport: b.entry.transport,
		Median: medians(b.rounds), Rounds: b.rounds,
	}
}

// medians returns the median of each figure by itself.
func medians(rounds []measurement) measurement {
	of := func(figure func(measurement) float64) float64 { return median(column(rounds, figure)) }
	return measurement{
		CPU:    of(func(m measurement) float64 { return m.CPU }),
		Allocs: of(func(m measurement) float64 { return m.Allocs }),
		Bytes:  of(func(m measurement) float64 { return m.Bytes }),
		Writes: of(func(m measurement) float64 { return m.Writes }),
		Rate:   of(func(m measurement) float64 { return m.Rate }),
		P50:    of(func(m measurement) float64 { return m.P50 }),
		P99:    of(func(m measurement) float64 { return m.P99 }),
	}
}

func column(rounds []measurement, figure func(measurement) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, m := range rounds {
		values[i] = figure(m)
	}
	return values
}

// A versus compares the CPU time of another contender to that of one of ours, or
// that of ours to a floor's.
type versus struct {
	Over  string `json:"over"`
	Under string `json:"under"`
	CPU   ratio  `json:"cpu"`
}

// compare returns the ratios of a case: other libraries against ours, for the same
// protocol and wire; ours against the bare transport; ours with a balancer, and over NATS,
// against ours without; nats.go against ours over NATS; and bare net/http against the bare
// engine.
func compare(results []result) []versus {
	var all []versus
	add := func(over, under result) {
		cpu := func(m measurement) float64 { return m.CPU }
		all = append(all, versus{over.String(), under.String(), ratioOf(column(over.Rounds, cpu), column(under.Rounds, cpu))})
	}
	for _, mine := range results {
		for _, other := range results {
			sameWire := wire(other.Transport) == wire(mine.Transport)
			switch {
			case mine.Library == bareHTTP && onEngine(mine.Transport):
				if other.Library == bareHTTP && sameWire && other.Transport != mine.Transport {
					add(other, mine)
				}
			case mine.Library != ours && mine.Library != oursKlaus && mine.Library != grpcGoOurs:
			case other.Library == connectGo || other.Library == grpcGo:
				if other.Protocol == mine.Protocol && sameWire {
					add(other, mine)
				}
			case other.Library == bareHTTP && other.Transport == mine.Transport:
				add(mine, other)
			case other.Library == natsGo:
				if other.Transport == mine.Transport {
					add(other, mine)
				}
			case mine.Transport == overBalance || mine.Transport == overNATS:
				if other.Library == mine.Library && other.Protocol == mine.Protocol && other.Transport == overEngine {
					add(mine, other)
				}
			}
		}
	}
	return slices.Clip(all)
}

func (r result) String() string {
	return r.Library + "/" + r.Protocol + "/" + r.Transport
}
