// SPDX-License-Identifier: Apache-2.0

// The tables on the terminal, and the parts of the JSON file beside the figures.

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"
)

// file is the content of the JSON file.
type file struct {
	Machine machine      `json:"machine"`
	Cases   []caseReport `json:"cases"`
}

// machine describes a run: its date, the machine, and the versions of Go and libraries.
type machine struct {
	Date     string            `json:"date"`
	Go       string            `json:"go"`
	Platform string            `json:"platform"`
	CPU      string            `json:"cpu,omitempty"`
	CPUs     int               `json:"cpus"`
	Versions map[string]string `json:"versions"` // by library
}

// rivals are the libraries whose versions a report names.
var rivals = []struct{ library, module string }{
	{connectGo, "connectrpc.com/connect"},
	{grpcGo, "google.golang.org/grpc"},
	{twirpGo, "github.com/twitchtv/twirp"},
	{drpcGo, "storj.io/drpc"},
	{natsGo, "github.com/nats-io/nats.go"},
	{"nats-server", "github.com/nats-io/nats-server/v2"},
}

func describeMachine(now time.Time) machine {
	m := machine{
		Date:     now.UTC().Format(time.DateOnly),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPU:      cpuModel(),
		CPUs:     runtime.GOMAXPROCS(0),
		Versions: make(map[string]string),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			for _, rival := range rivals {
				if module.Path == rival.module {
					m.Versions[rival.library] = strings.TrimSuffix(module.Version, "+incompatible")
				}
			}
		}
	}
	return m
}

// cpuModel returns the processor's name, or "" if the system does not list it.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, %s, %s, %d CPUs", m.Date, m.Go, m.Platform, m.CPUs)
	if m.CPU != "" {
		s += " (" + m.CPU + ")"
	}
	for _, rival := range rivals {
		if version, ok := m.Versions[rival.library]; ok {
			s += ", " + rival.library + " " + version
		}
	}
	return s
}

// printCase prints the figures of a case.
func printCase(out io.Writer, c caseReport) {
	rounds := 0
	if len(c.Results) > 0 {
		rounds = len(c.Results[0].Rounds)
	}
	fmt.Fprintf(out, "\n%s, %s: medians of %d rounds, per %s\n", c.work.title, countCallers(c.Callers), rounds, c.Unit)
	if c.work.note != "" {
		fmt.Fprintln(out, c.work.note)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "contender\tCPU µs\t÷ ours\tallocs\tbytes\twrites\tper second\tp50 µs\tp99 µs\t")
	for _, r := range c.Results {
		m := r.Median
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%.1f\t%.0f\t%.2f\t%.0f\t%.1f\t%.1f\t\n",
			r, m.CPU/1e3, againstOurs(c, r), m.Allocs, m.Bytes, m.Writes, m.Rate, m.P50/1e3, m.P99/1e3)
	}
	t.Flush()
}

// againstOurs returns a contender's ratio to ours, where there is a comparison.
func againstOurs(c caseReport, r result) string {
	for _, v := range c.Ratios {
		if v.Over == r.String() && strings.HasPrefix(v.Under, ours+"/") {
			return fmt.Sprintf("%.2f", v.CPU.Median)
		}
	}
	return ""
}

func countCallers(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", n)
}

// printRatios prints the comparisons of all cases.
func printRatios(out io.Writer, reports []caseReport) {
	fmt.Fprint(out, "\nCPU time ÷ CPU time: median of the rounds' ratios, with the middle half of them\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "work\tcallers\tover\tunder\tratio\tmiddle half")
	for _, c := range reports {
		for _, v := range c.Ratios {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%.2f\t%.2f–%.2f\n", c.Work, c.Callers, v.Over, v.Under, v.CPU.Median, v.CPU.Low, v.CPU.High)
		}
	}
	t.Flush()
}
