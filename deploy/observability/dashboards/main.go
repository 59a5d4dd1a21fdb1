// Command dashboards writes the Grafana dashboards in this directory: one for each service and one for the business.
//
//	go run ./deploy/observability/dashboards
//
// Import the files into Grafana or provision them from a directory. The datasource is selected on the dashboard.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	for _, b := range boards {
		text, err := b.render()
		if err != nil {
			return err
		}
		path := filepath.Join(root, "deploy/observability/dashboards", b.name+".json")
		//nolint:gosec // The file is part of the checkout and readable like the other files.
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write dashboard: %w", err)
		}
	}
	return nil
}

// board is a dashboard.
type board struct {
	name   string // part of the file's name and of the dashboard's uid and title
	panels []panel
}

// panel is a graph of its queries. If stat is set, it shows the current value of each query instead.
type panel struct {
	title, unit string
	queries     []query
	stat        bool
}

// query is a PromQL expression and the legend of its series.
type query struct{ expr, legend string }

// Panel sizes in Grafana's grid, which is 24 columns wide.
const (
	width, height = 8, 7
	perRow        = 24 / width
)

// render returns the dashboard as Grafana JSON with one line for each panel, so that diffs are readable.
func (b board) render() ([]byte, error) {
	datasource := map[string]string{"type": "prometheus", "uid": "${datasource}"}
	var lines []string
	for i, p := range b.panels {
		var targets []map[string]any
		for n, q := range p.queries {
			targets = append(targets, map[string]any{
				"refId": string(rune('A' + n)), "datasource": datasource, "expr": q.expr, "legendFormat": q.legend,
			})
		}
		kind := "timeseries"
		if p.stat {
			kind = "stat"
		}
		line, err := json.Marshal(map[string]any{
			"id": i + 1, "type": kind, "title": p.title, "datasource": datasource, "targets": targets,
			"gridPos":     map[string]int{"x": i % perRow * width, "y": i / perRow * height, "w": width, "h": height},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit, "min": 0}, "overrides": []any{}},
		})
		if err != nil {
			return nil, fmt.Errorf("panel %s: %w", p.title, err)
		}
		lines = append(lines, "    "+string(line))
	}
	return fmt.Appendf(nil, `{
  "uid": "eventbooking-%[1]s",
  "title": "Event booking: %[1]s",
  "tags": ["eventbooking"],
  "schemaVersion": 39,
  "time": {"from": "now-1h", "to": "now"},
  "refresh": "30s",
  "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
  "panels": [
%[2]s
  ]
}
`, b.name, strings.Join(lines, ",\n")), nil
}
