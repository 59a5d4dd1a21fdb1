// Package observability holds the Prometheus rules, the Grafana dashboards, the runbooks, and a README that documents
// every metric.
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

// Metrics returns the names of the metrics that the README documents for apps and for sidecars.
func Metrics() (apps, sidecars []string) {
	ofApps, ofSidecars, _ := strings.Cut(readme, "\n## Metrics of the sidecars\n")
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
