package observability_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/deploy/observability"
)

// promtool runs Prometheus' own tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	cfg, err := stack.FromEnv(root)
	require.NoError(t, err)
	tool, err := stack.EnsurePromtool(t.Context(), cfg)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
	promtool(t, "test", "rules", "rules/rules_test.yml")
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// rules gives those of a file.
func rules(t *testing.T, path string) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(text, &file))
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

func TestEveryAlertHasARunbookAndATest(t *testing.T) {
	t.Parallel()
	var tested struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	text, err := os.ReadFile("rules/rules_test.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &tested))
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tested.Tests {
		for _, a := range test.Alerts {
			if len(a.Expected) > 0 {
				fires[a.Name] = true
			} else {
				rests[a.Name] = true
			}
		}
	}
	var runbooks []string
	for _, r := range rules(t, "rules/alerts.yml") {
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		require.Equal(t, "runbooks/"+r.Alert+".md", r.Annotations["runbook_url"])
		require.True(t, fires[r.Alert], "%s: no test in which it fires", r.Alert)
		require.True(t, rests[r.Alert], "%s: no test in which it does not", r.Alert)
		runbook, err := os.ReadFile(r.Annotations["runbook_url"])
		require.NoError(t, err)
		for _, part := range []string{"# " + r.Alert + "\n", "\n**What it means.** ", "\n**Look.**", "\n**Do.**"} {
			require.Contains(t, string(runbook), part, r.Alert)
		}
		runbooks = append(runbooks, r.Annotations["runbook_url"])
	}
	found, err := filepath.Glob("runbooks/*.md")
	require.NoError(t, err)
	require.ElementsMatch(t, runbooks, found, "a runbook of no alert")
}

// dashboards gives the queries of each dashboard.
func dashboards(t *testing.T) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob("dashboards/*.json")
	require.NoError(t, err)
	queries := map[string][]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var board struct {
			UID    string
			Panels []struct {
				ID      int
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &board), path)
		require.Equal(t, "eventbooking-"+strings.TrimSuffix(filepath.Base(path), ".json"), board.UID)
		places := map[[2]int]bool{}
		for _, p := range board.Panels {
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24)
			places[[2]int{p.GridPos.X, p.GridPos.Y}] = true
			for _, target := range p.Targets {
				queries[path] = append(queries[path], strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
			}
		}
		require.Len(t, places, len(board.Panels), "%s: one panel on another", path)
	}
	return queries
}

func TestDashboardsAreOfEveryServiceAndCanBeAsked(t *testing.T) {
	t.Parallel()
	boards := dashboards(t)
	for _, app := range []string{
		"auth-service", "event-service", "ticket-service", "payment-service", "notification-service", "analytics-service",
		"payment-gateway", "email-service", "business",
	} {
		require.NotEmpty(t, boards["dashboards/"+app+".json"], app)
	}
	// promtool knows PromQL, in the shape of rules.
	var asked []map[string]string
	for _, queries := range boards {
		for _, expr := range queries {
			asked = append(asked, map[string]string{"record": fmt.Sprintf("q%d", len(asked)), "expr": expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboards", "rules": asked}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	promtool(t, "check", "rules", path)
}

var (
	// What of an expression is no metric: strings, durations, the labels of matchers and of clauses, numbers.
	noise = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|\{[^}]*\}|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	// A name that is not called.
	word     = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*\b\s*\(?`)
	keywords = []string{"and", "or", "unless", "bool", "offset"}
	// What a histogram named in the README is made of.
	suffix = regexp.MustCompile(`_(?:bucket|count|sum)$`)
)

// metrics gives the names in an expression.
func metrics(expr string) (names []string) {
	for _, w := range word.FindAllString(noise.ReplaceAllString(expr, " "), -1) {
		if w = strings.TrimSpace(w); !strings.HasSuffix(w, "(") && !slices.Contains(keywords, w) {
			names = append(names, w)
		}
	}
	return names
}

func TestMetricsOfAnExpression(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"a_count", "b:c", "d"}, metrics(
		`histogram_quantile(0.95, sum by (le) (rate(a_count{x="y(z)", le!~"1|2"}[5m]))) + on (q) 2 * b:c > 1e3 or max without (v) (d)`))
}

// That they are served is for the end-to-end test to find.
func TestRulesAndDashboardsAskForWhatIsDocumented(t *testing.T) {
	t.Parallel()
	apps, sidecars := observability.Metrics()
	known := slices.Concat(apps, sidecars, []string{"up", "go_goroutines", "process_cpu_seconds_total", "process_resident_memory_bytes"})
	for _, r := range rules(t, "rules/recording.yml") {
		known = append(known, r.Record)
	}
	used := map[string]bool{}
	check := func(where, expr string) {
		for _, m := range metrics(expr) {
			used[m], used[suffix.ReplaceAllString(m, "")] = true, true
			require.True(t, slices.Contains(known, m) || slices.Contains(known, suffix.ReplaceAllString(m, "")),
				"%s: no metric %s in the README", where, m)
		}
	}
	for _, r := range slices.Concat(rules(t, "rules/recording.yml"), rules(t, "rules/alerts.yml")) {
		check(r.Record+r.Alert, r.Expr)
	}
	for path, queries := range dashboards(t) {
		for _, expr := range queries {
			check(path, expr)
		}
	}
	paths, err := filepath.Glob("runbooks/*.md")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`dapr_[a-z_]+`).FindAllString(string(text), -1) {
			check(path, m)
		}
	}
	for _, m := range known {
		require.True(t, used[m], "%s: nobody looks at it", m)
	}
}
