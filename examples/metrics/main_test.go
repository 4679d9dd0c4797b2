// SPDX-License-Identifier: Apache-2.0

// The dashboard against what the program exports, and against Grafana's schema.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// scrape makes calls that succeed and fail, and returns the labels of each exported series.
func scrape(t *testing.T) map[string][]string {
	t.Helper()
	meters, metrics, err := newMeters()
	if err != nil {
		t.Fatal(err)
	}
	observed := connect.WithCallInterceptors(telemetry.New(telemetry.WithMeterProvider(meters)))
	path, handler := greetv1connect.NewGreetServiceHandler(greeter{}, observed)
	s := connecttest.NewServer(handler)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, options := range [][]connect.ClientOption{{observed}, {observed, connect.WithGRPC()}} {
		client := greetv1connect.NewGreetServiceClient(s.Client(), s.URL, options...)
		for name, code := range map[string]string{"Ada": "", "": "invalid_argument", "Nobody": "internal"} {
			_, err := client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: name}))
			if (err == nil) != (code == "") || err != nil && connect.CodeOf(err).String() != code {
				t.Fatalf("%s of %q: got %v, want %q", path, name, err, code)
			}
		}
	}
	s.Close()

	answer := httptest.NewRecorder()
	metrics.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	series := make(map[string][]string)
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="`)
	for text := bufio.NewScanner(answer.Body); text.Scan(); {
		if strings.HasPrefix(text.Text(), "#") {
			continue
		}
		found := line.FindStringSubmatch(text.Text())
		if found == nil {
			t.Fatalf("got the line %q, want one of Prometheus", text.Text())
		}
		for _, l := range label.FindAllStringSubmatch(found[2], -1) {
			if !slices.Contains(series[found[1]], l[1]) {
				series[found[1]] = append(series[found[1]], l[1])
			}
		}
	}
	return series
}

var (
	// metricPattern finds the metrics in a query: names with "_" that are not labels.
	metricPattern = regexp.MustCompile(`\b((?:rpc|connect)_[a-z_]+)(?:\{([^}]*)\})?(?:\[|\)|,|$)`)
	matcherName   = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	byPattern     = regexp.MustCompile(`by \(([^)]*)\)`)
	legendPattern = regexp.MustCompile(`\{\{([^}]*)\}\}`)
)

// TestQueries compares each metric and label in the dashboard with what is exported.
func TestQueries(t *testing.T) {
	series := scrape(t)
	text, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	check := func(where, expr, legend string, labels ...string) {
		found := metricPattern.FindAllStringSubmatch(expr, -1)
		metrics := 0
		for _, by := range byPattern.FindAllStringSubmatch(expr, -1) {
			labels = append(labels, strings.Split(strings.ReplaceAll(by[1], " ", ""), ",")...)
		}
		for _, l := range legendPattern.FindAllStringSubmatch(legend, -1) {
			if !slices.Contains(labels, l[1]) {
				t.Errorf("%s: the legend has the label %q, which the query does not group by: %s", where, l[1], expr)
			}
		}
		for _, m := range found {
			if slices.Contains(labels, m[1]) {
				continue // a label in "by"
			}
			metrics++
			used[m[1]] = true
			have, there := series[m[1]]
			if !there {
				t.Errorf("%s: nothing exports %s; there are %v", where, m[1], names(series))
				continue
			}
			wants := slices.Clone(labels)
			for _, l := range matcherName.FindAllStringSubmatch(m[2], -1) {
				wants = append(wants, l[1])
			}
			for _, l := range wants {
				if !slices.Contains(have, l) {
					t.Errorf("%s: %s has no label %s, but %v", where, m[1], l, have)
				}
			}
		}
		if metrics == 0 {
			t.Errorf("%s: found no metric in %q", where, expr)
		}
	}
	for _, p := range d.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s: the panel has no query", p.Title)
		}
		for _, target := range p.Targets {
			check(p.Title, target.Expr, target.LegendFormat)
		}
	}
	for _, v := range d.Templating.List {
		check("variable "+v.Name, v.Definition, "", "rpc_method")
	}
	for _, name := range []string{"rpc_server_call_duration_seconds_bucket", "rpc_client_call_duration_seconds_count", "connect_server_active_calls", "connect_server_request_wire_size_bytes_sum"} {
		if !used[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func names(series map[string][]string) []string {
	var list []string
	for name := range series {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// classic is the form of dashboards that all versions of Grafana import, and not only the
// newest ones.
//
//lint:ignore SA1019 for that reason
type classic = dashboard.Dashboard

// load reads a dashboard with the types that Grafana generates from its schema, which
// refuse what the schema does not have.
func load(text string) (*classic, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	for _, name := range []string{"__inputs", "__requires"} { // of an export, which the import replaces
		if raw[name] == nil {
			return nil, fmt.Errorf("the dashboard has no %s, by which an import asks for the data source", name)
		}
		delete(raw, name)
	}
	stripped, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	types := cog.NewRuntime()
	types.RegisterPanelcfgVariant(timeseries.VariantConfig())
	types.RegisterPanelcfgVariant(stat.VariantConfig())
	types.RegisterDataqueryVariant(prometheus.VariantConfig())
	d := new(classic)
	err = d.UnmarshalJSONStrict(stripped)
	if list, ok := errors.AsType[cog.BuildErrors](err); ok && len(list) == 0 {
		err = nil // the generated function returns an empty list for no error, and then leaves the panel out
	}
	if err != nil {
		return nil, err
	}
	d = new(classic)
	return d, json.Unmarshal(stripped, d)
}

// TestSchema checks the dashboard, and that the check finds mistakes.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][2]string{
		{`"panels": [`, `"unknown": 1, "panels": [`}, {`"title": "Calls"`, `"title": 1`},
		{`"showLegend": true`, `"showLegend": "yes"`}, {`"refId": "A"`, `"refId": 1`}, {`"__inputs"`, `"inputs"`},
	} {
		changed := strings.Replace(string(text), wrong[0], wrong[1], 1)
		if _, err := load(changed); err == nil || changed == string(text) {
			t.Errorf("got no error for %s in place of %s, want one", wrong[1], wrong[0])
		}
	}
	d, err := load(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if d.Title == nil || *d.Title == "" || d.Uid == nil || len(*d.Uid) > 40 {
		t.Error("the dashboard needs a title, and a uid of at most 40 characters")
	}
	taken := make(map[[2]uint32]string)
	ids := make(map[uint32]bool)
	for _, p := range d.Panels {
		panel := p.Panel
		if panel == nil || panel.Id == nil || ids[*panel.Id] || panel.GridPos == nil || panel.Title == nil {
			t.Errorf("a panel needs an id of its own, a title and a place")
			continue
		}
		ids[*panel.Id] = true
		if panel.Datasource == nil || panel.Datasource.Uid == nil || *panel.Datasource.Uid != "${DS_PROMETHEUS}" {
			t.Errorf("%s: the data source is not the one that an import asks for", *panel.Title)
		}
		g := panel.GridPos
		if g.X+g.W > 24 {
			t.Errorf("%s: the panel is wider than the page", *panel.Title)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", *panel.Title, other)
				}
				taken[[2]uint32{x, y}] = *panel.Title
			}
		}
	}
}
