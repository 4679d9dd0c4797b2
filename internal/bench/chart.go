// SPDX-License-Identifier: Apache-2.0

// The chart for the README: CPU time as bars, a panel for each work.

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
)

// Pixels.
const (
	chartWidth  = 860
	panelWidth  = 410
	panelGap    = 40
	barHeight   = 12
	barStep     = 16
	labelWidth  = 150
	figureWidth = 62 // after the longest bar
	titleHeight = 26
	chartTop    = 34
	chartMargin = 14
)

// charted are the entries with a bar, in the order of the bars. The others are
// in the tables only.
var charted = []string{
	"ours/connect/http1", "ours+klauspost/connect/http1", "connect-go/connect/http1", "twirp/twirp/http1", "net/http/bytes/http1",
	"ours/grpc/engine", "ours/grpc/h2c", "connect-go/grpc/h2c", "grpc-go/grpc/h2c", "drpc/drpc/tcp", "net/http/bytes/h2c",
}

// chartCallers is how many callers the chart is about, if they were measured.
const chartCallers = 16

// The style follows the reader's choice of light or dark. It draws a background,
// because the page around the chart may use the other one. This library's bars are
// coloured, those of the floors hollow.
const chartStyle = `<style>
.paper { fill: #ffffff }
text { font: 11px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 12px }
.note { fill: #59636e }
.figure { fill: #59636e }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.floor { fill: none; stroke: #afb8c1 }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 }
text { fill: #f0f6fc }
.note, .figure { fill: #9198a1 }
.ours { fill: #4493f8 }
.other { fill: #656c76 }
.floor { stroke: #656c76 }
}
</style>
`

// drawChart returns an SVG picture.
func drawChart(m machine, reports []caseReport) []byte {
	cases := chartCases(reports)
	var panels bytes.Buffer
	y, rowHeight := chartTop, 0
	for i, c := range cases {
		x := i % 2 * (panelWidth + panelGap)
		if i%2 == 0 {
			y, rowHeight = y+rowHeight, 0
		}
		rowHeight = max(rowHeight, drawPanel(&panels, x, y, c))
	}
	height := y + rowHeight + 22
	callers := "no cases"
	if len(cases) > 0 {
		callers = countCallers(cases[0].Callers)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="%d %d %d %d" width="%[3]d" height="%[4]d" role="img">`+"\n",
		-chartMargin, -chartMargin, chartWidth+2*chartMargin, height+2*chartMargin)
	out.WriteString(chartStyle)
	fmt.Fprintf(&out, `<rect class="paper" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n",
		-chartMargin, -chartMargin, chartWidth+2*chartMargin, height+2*chartMargin)
	write(&out, 0, 14, "title", "CPU time per call or message, client and server together, "+callers+": shorter is better")
	out.Write(panels.Bytes())
	write(&out, 0, height-8, "note", m.String())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// chartCases returns the cases with the chart's number of callers, or those with
// the first number there is.
func chartCases(reports []caseReport) []caseReport {
	if len(reports) == 0 {
		return nil
	}
	callers := reports[0].Callers
	if slices.ContainsFunc(reports, func(c caseReport) bool { return c.Callers == chartCallers }) {
		callers = chartCallers
	}
	return slices.DeleteFunc(slices.Clone(reports), func(c caseReport) bool { return c.Callers != callers })
}

// drawPanel draws the bars of a case and returns its height.
func drawPanel(out *bytes.Buffer, x, y int, c caseReport) int {
	var bars []result
	longest := 0.0
	for _, name := range charted {
		for _, r := range c.Results {
			if r.String() == name {
				bars = append(bars, r)
				longest = math.Max(longest, r.Median.CPU)
			}
		}
	}
	write(out, x, y+14, "title", c.work.title)
	for i, r := range bars {
		top := y + titleHeight - 4 + i*barStep
		class := "other"
		switch r.Library {
		case ours, oursKlaus:
			class = "ours"
		case bareHTTP:
			class = "floor"
		}
		length := r.Median.CPU / longest * (panelWidth - labelWidth - figureWidth)
		write(out, x, top+10, "", r.title())
		fmt.Fprintf(out, `<rect class="%s" x="%d.5" y="%d.5" width="%.1f" height="%d"/>`+"\n", class, x+labelWidth, top, length, barHeight)
		write(out, x+labelWidth+int(length)+5, top+10, "figure", microseconds(r.Median.CPU))
	}
	return titleHeight + len(bars)*barStep + 12
}

// title returns the text before a bar, different for each bar of a panel.
func (r result) title() string {
	transport := map[string]string{overHTTP1: "HTTP/1.1", overH2C: "HTTP/2", overTCP: "TCP"}[r.Transport]
	switch r.Library {
	case ours:
		if r.Transport == overEngine {
			return "this library + h2, " + r.protocolTitle()
		}
		return "this library, " + r.protocolTitle()
	case oursKlaus:
		return "this + compress/gzip"
	case connectGo:
		return r.Library + ", " + r.protocolTitle()
	case bareHTTP:
		return r.Library + " alone, " + transport
	}
	return r.Library
}

func (r result) protocolTitle() string {
	if r.Protocol == overGRPC {
		return "gRPC"
	}
	return "Connect"
}

// microseconds writes nanoseconds with three digits or so.
func microseconds(ns float64) string {
	us := ns / 1e3
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f µs", us)
	case us < 100:
		return fmt.Sprintf("%.1f µs", us)
	}
	return fmt.Sprintf("%.0f µs", us)
}

// write places a line of text.
func write(out *bytes.Buffer, x, y int, class, text string) {
	fmt.Fprintf(out, `<text x="%d" y="%d" class="%s">`, x, y, class)
	_ = xml.EscapeText(out, []byte(text)) // a bytes.Buffer takes everything
	out.WriteString("</text>\n")
}
