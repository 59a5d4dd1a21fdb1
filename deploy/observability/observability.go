// Package observability is what a Prometheus and a Grafana need to watch the system: rules, dashboards, and a README that
// names every metric.
package observability

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed README.md
var readme string

var (
	row  = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|")
	name = regexp.MustCompile("`([a-z_]+)`")
)

// Metrics gives the names of the metrics in the README's two tables: those of apps, and those of sidecars.
func Metrics() (apps, sidecars []string) {
	ofApps, ofSidecars, _ := strings.Cut(readme, "\n## What we use of the sidecars'\n")
	return names(ofApps), names(ofSidecars)
}

func names(text string) (found []string) {
	for _, cell := range row.FindAllStringSubmatch(text, -1) {
		for _, n := range name.FindAllStringSubmatch(cell[1], -1) {
			found = append(found, n[1])
		}
	}
	return found
}
