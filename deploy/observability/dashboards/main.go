// Command dashboards writes the Grafana dashboards beside it: one for each service, of what all services have and what that
// one has, and one for the business.
//
//	go run ./deploy/observability/dashboards
//
// Each is a file to import, or to provision from a directory. A datasource is chosen on the page.
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
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // part of the checkout, as readable as the rest
			return fmt.Errorf("write a dashboard: %w", err)
		}
	}
	return nil
}

// board is a dashboard.
type board struct {
	name   string // of its file and in its address
	panels []panel
}

// panel is a graph of some queries, or a number for each where it is a stat.
type panel struct {
	title, unit string
	queries     []query
	stat        bool
}

// query is an expression in PromQL and what Grafana calls its series.
type query struct{ expr, legend string }

// Sizes of panels: three stand beside each other in Grafana's 24 columns.
const (
	width, height = 8, 7
	perRow        = 24 / width
)

// render gives the dashboard as Grafana's JSON, with a line for each panel.
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
