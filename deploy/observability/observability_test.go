package observability_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
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

// promtool runs Prometheus' promtool and fails the test if it fails.
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

func TestRulesAreValidAndAlertsFireAsExpected(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
	promtool(t, "test", "rules", "rules/rules_test.yml")
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// rules returns the rules in a file.
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
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tested.Tests {
		for _, a := range test.Alerts {
			if len(a.Expected) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	var runbooks []string
	for _, r := range rules(t, "rules/alerts.yml") {
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		require.Equal(t, "runbooks/"+r.Alert+".md", r.Annotations["runbook_url"])
		require.True(t, fires[r.Alert], "no test in which %s fires", r.Alert)
		require.True(t, silent[r.Alert], "no test in which %s does not fire", r.Alert)
		runbook, err := os.ReadFile(r.Annotations["runbook_url"])
		require.NoError(t, err)
		for _, part := range []string{"# " + r.Alert + "\n", "\n**What it means.** ", "\n**Check.**", "\n**Do.**"} {
			require.Contains(t, string(runbook), part, r.Alert)
		}
		runbooks = append(runbooks, r.Annotations["runbook_url"])
	}
	found, err := filepath.Glob("runbooks/*.md")
	require.NoError(t, err)
	require.ElementsMatch(t, runbooks, found, "every runbook belongs to an alert")
}

// dashboard is what the tests read of a dashboard's file.
type dashboard struct{ titles, queries []string }

// dashboards returns all dashboards by path.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := filepath.Glob("dashboards/*.json")
	require.NoError(t, err)
	boards := map[string]dashboard{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var board struct {
			UID    string
			Panels []struct {
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &board), path)
		require.Equal(t, "eventbooking-"+strings.TrimSuffix(filepath.Base(path), ".json"), board.UID)
		var d dashboard
		places := map[[2]int]bool{}
		for _, p := range board.Panels {
			d.titles = append(d.titles, p.Title)
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24)
			places[[2]int{p.GridPos.X, p.GridPos.Y}] = true
			for _, target := range p.Targets {
				d.queries = append(d.queries, strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
			}
		}
		require.Len(t, places, len(board.Panels), "%s: panels overlap", path)
		boards[path] = d
	}
	return boards
}

func TestEveryServiceHasADashboardWithValidQueries(t *testing.T) {
	t.Parallel()
	boards := dashboards(t)
	for _, app := range []string{
		"auth-service", "event-service", "ticket-service", "payment-service", "notification-service",
		"analytics-service", "payment-gateway", "email-service", "business",
	} {
		require.NotEmpty(t, boards["dashboards/"+app+".json"].queries, app)
	}
	// promtool checks PromQL only in rule files, so each query becomes a rule.
	var queries []map[string]string
	for _, board := range boards {
		for _, expr := range board.queries {
			queries = append(queries, map[string]string{"record": fmt.Sprintf("q%d", len(queries)), "expr": expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboards", "rules": queries}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	promtool(t, "check", "rules", path)
}

var (
	// noise matches the parts of an expression that contain no metric: strings, ranges, label matchers and label lists.
	noise = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|\{[^}]*\}|` +
		`\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	// word matches a name, and the parenthesis after it if it is a function.
	word     = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*\b\s*\(?`)
	keywords = []string{"and", "or", "unless", "bool", "offset"}
	// suffix matches the suffixes of a histogram's series; the README documents the histogram without them.
	suffix = regexp.MustCompile(`_(?:bucket|count|sum)$`)
)

// metrics returns the names of the metrics in an expression.
func metrics(expr string) (names []string) {
	for _, w := range word.FindAllString(noise.ReplaceAllString(expr, " "), -1) {
		if w = strings.TrimSpace(w); !strings.HasSuffix(w, "(") && !slices.Contains(keywords, w) {
			names = append(names, w)
		}
	}
	return names
}

func TestMetricsFindsTheMetricsOfAnExpression(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"a_count", "b:c", "d"}, metrics(`histogram_quantile(0.95, sum by (le) (`+
		`rate(a_count{x="y(z)", le!~"1|2"}[5m]))) + on (q) 2 * b:c > 1e3 or max without (v) (d)`))
}

// The end-to-end test checks that the documented metrics are served.
func TestRulesDashboardsAndRunbooksUseExactlyTheDocumentedMetrics(t *testing.T) {
	t.Parallel()
	apps, sidecars := observability.Metrics()
	known := slices.Concat(apps, sidecars, []string{
		"up", "go_goroutines", "process_cpu_seconds_total", "process_resident_memory_bytes",
	})
	for _, r := range rules(t, "rules/recording.yml") {
		known = append(known, r.Record)
	}
	used := map[string]bool{}
	check := func(where, expr string) {
		for _, m := range metrics(expr) {
			used[m], used[suffix.ReplaceAllString(m, "")] = true, true
			require.True(t, slices.Contains(known, m) || slices.Contains(known, suffix.ReplaceAllString(m, "")),
				"%s uses %s, which the README does not document", where, m)
		}
	}
	for _, r := range slices.Concat(rules(t, "rules/recording.yml"), rules(t, "rules/alerts.yml")) {
		check(r.Record+r.Alert, r.Expr)
	}
	for path, board := range dashboards(t) {
		for _, expr := range board.queries {
			check(path, expr)
		}
	}
	for path, text := range runbooks(t) {
		for _, m := range regexp.MustCompile(`dapr_[a-z_]+`).FindAllString(text, -1) {
			check(path, m)
		}
	}
	for _, m := range known {
		require.True(t, used[m], "no rule, dashboard or runbook uses %s", m)
	}
}

// runbooks returns the text of each runbook by path.
func runbooks(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("runbooks/*.md")
	require.NoError(t, err)
	texts := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		texts[path] = string(text)
	}
	return texts
}

func TestRunbooksNameExistingPanels(t *testing.T) {
	t.Parallel()
	var titles []string
	for _, board := range dashboards(t) {
		titles = append(titles, board.titles...)
	}
	panel := regexp.MustCompile(`[^*]\*([^*\n]+)\*[^*]`)
	for path, text := range runbooks(t) {
		for _, match := range panel.FindAllStringSubmatch(stripCode(text), -1) {
			require.Contains(t, titles, match[1], path)
		}
	}
}

// stripCode removes code, in which an asterisk marks no emphasis.
func stripCode(markdown string) string {
	return regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(markdown, "")
}

func TestRunbooksSearchLogsForMessagesThatServicesWrite(t *testing.T) {
	t.Parallel()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	var source strings.Builder
	err = filepath.WalkDir(filepath.Join(root, "services"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	require.NoError(t, err)
	grep := regexp.MustCompile(`grep (?:"([^"]+)"|([A-Z_]+)) \S+_app_`)
	for path, text := range runbooks(t) {
		for _, match := range grep.FindAllStringSubmatch(text, -1) {
			if message := match[1]; message != "" {
				require.Regexp(t, `slog\.\w+\((ctx, )?"`+regexp.QuoteMeta(message)+`"`, source.String(), path)
				continue
			}
			require.Contains(t, source.String(), match[2], path)
		}
	}
}
