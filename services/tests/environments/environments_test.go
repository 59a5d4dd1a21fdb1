package environments_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
)

// readFile returns the documents in a YAML file.
func readFile(t *testing.T, file string) []object {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	all, err := parse(text)
	require.NoError(t, err, file)
	return all
}

// intended are patterns of the intended differences between the local stack and each overlay. A difference is written
// as "Kind name: field".
var intended = map[string][]string{
	local: {
		`Component secretstore: spec\.metadata\.secretsFile`, // a mounted Secret
		`Configuration .*: spec\.(nameResolution|tracing\.otel|accessControl)`,
	},
	aws: {
		`Component (pubsub|event-updates|event-updates\.fifo|.*-queue): spec\.metadata\.(endpoint|accountID)`,
		`Component .*-dlq(\.fifo)?: spec\.metadata\.endpoint`,
		`Component secretstore: spec\.(type|metadata\.(secretsFile|region))`, // AWS Secrets Manager
		`Configuration .*: spec\.(nameResolution|tracing\.otel|accessControl)`,
	},
}

// Components, subscriptions, policies and configurations have the same types, scopes, topics, routes and limits in all
// environments.
func TestEnvironmentsDifferOnlyAsIntended(t *testing.T) {
	t.Parallel()
	machine := localStack(t)
	for _, overlay := range []string{local, aws} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			used := map[string]bool{}
			var unintended []string
			for _, kind := range []string{"Component", "Subscription", "Resiliency", "Configuration"} {
				ours, theirs := only(t, machine, kind), only(t, render(t, overlay), kind)
				require.ElementsMatch(t, slices.Collect(maps.Keys(ours)), slices.Collect(maps.Keys(theirs)), kind)
				for name, o := range ours {
					for _, field := range differences(o, theirs[name]) {
						difference := kind + " " + name + ": " + field
						i := slices.IndexFunc(intended[overlay], func(p string) bool {
							return regexp.MustCompile("^" + p + "$").MatchString(difference)
						})
						if i < 0 {
							unintended = append(unintended, difference)
							continue
						}
						used[intended[overlay][i]] = true
					}
				}
			}
			require.Empty(t, unintended, "unintended differences")
			require.Len(t, used, len(intended[overlay]), "an intended difference does not exist; those that exist: %v", used)
		})
	}
}

// differences returns the names of the fields in which two manifests differ. It compares spec up to two levels deep,
// and lists of named entries, such as a component's metadata, by name.
func differences(a, b object) []string {
	var fields []string
	compare := func(prefix string, x, y map[string]any) []string {
		var differing []string
		keys := slices.Concat(slices.Collect(maps.Keys(x)), slices.Collect(maps.Keys(y)))
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			if !reflect.DeepEqual(x[k], y[k]) {
				differing = append(differing, prefix+k)
			}
		}
		return differing
	}
	for _, field := range compare("", a, b) {
		switch field {
		case "metadata": // namespace and labels
			continue
		case "spec":
		default:
			fields = append(fields, field)
			continue
		}
		x, y := at[map[string]any](a, "spec"), at[map[string]any](b, "spec")
		for _, inner := range compare("spec.", x, y) {
			key := strings.TrimPrefix(inner, "spec.")
			deepX, deepY := entries(x[key]), entries(y[key])
			if deepX == nil || deepY == nil {
				fields = append(fields, inner)
				continue
			}
			fields = append(fields, compare(inner+".", deepX, deepY)...)
		}
	}
	return fields
}

// entries returns a map unchanged, a list of named maps by name, and nil for any other value.
func entries(value any) map[string]any {
	if m, ok := value.(map[string]any); ok {
		return m
	}
	list, ok := value.([]any)
	if !ok {
		return nil
	}
	found := map[string]any{}
	for _, item := range list {
		m, _ := item.(map[string]any)
		name, ok := m["name"].(string)
		if !ok {
			return nil
		}
		found[name] = m
	}
	return found
}

func TestDifferencesNamesDifferingFields(t *testing.T) {
	t.Parallel()
	queue := func(kind, receives string, scopes ...any) object {
		return object{"scopes": scopes, "spec": map[string]any{"type": kind, "metadata": []any{
			map[string]any{"name": "messageReceiveLimit", "value": receives},
			map[string]any{"name": "region", "value": "us-east-1"},
		}}}
	}
	require.Empty(t, differences(queue("a", "3", "x"), queue("a", "3", "x")))
	require.Equal(t, []string{"scopes", "spec.metadata.messageReceiveLimit", "spec.type"},
		differences(queue("a", "3", "x"), queue("b", "4", "x", "y")))
}

// The allowed callers are declared twice: in the calls table for the apps, and in the sidecars' access control.
func TestAccessControlMatchesTheTableOfCalls(t *testing.T) {
	t.Parallel()
	type call struct{ Caller, Callee, Verb, Path string }
	variable := regexp.MustCompile(`\{[^}]*\}`)
	for _, overlay := range []string{local, aws} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			specs := map[string]any{}
			for name, o := range only(t, render(t, overlay), "Configuration") {
				specs[name] = o["spec"]
			}
			var checked []call
			var want []bool
			expect := func(caller, callee, verb, path string, allowed bool) {
				path = variable.ReplaceAllString(path, "550e8400-e29b-41d4-a716-446655440000")
				checked = append(checked, call{caller, callee, verb, path})
				want = append(want, allowed)
			}
			userServices := []string{
				"event-service", "ticket-service", "payment-service", "notification-service", "analytics-service",
			}
			for caller := range specs {
				for _, r := range calls.Table() {
					for _, verb := range []string{"GET", "POST", "PUT", "DELETE"} {
						expect(caller, r.App, verb, r.Path, calls.May(caller, verb, r.Path))
					}
				}
				// A service that verifies users' tokens fetches the keys.
				expect(caller, "auth-service", "GET", "/api/auth/.well-known/jwks.json", slices.Contains(userServices, caller))
				expect(caller, "auth-service", "POST", "/api/auth/login", false)
				for callee := range specs {
					for _, path := range []string{
						"/", "/metrics", "/actuator/health", "/events", "/bindings/dead-letters", "/api/" + callee,
					} {
						expect(caller, callee, "POST", path, false)
					}
				}
			}
			input, err := json.Marshal(map[string]any{"configurations": specs, "calls": checked})
			require.NoError(t, err)
			// -trimpath is the flag of the stack's build of daprd, so most packages are in the build cache.
			var got []bool
			require.NoError(t, json.Unmarshal(run(t, input, "-C", "tools/daprd", "-trimpath", "./access"), &got))
			require.Len(t, got, len(want))
			var wrong []string
			for i, c := range checked {
				if got[i] != want[i] {
					wrong = append(wrong, fmt.Sprintf("%+v: allowed is %t", c, got[i]))
				}
			}
			require.Empty(t, wrong)
		})
	}
}

// dapr.yaml configures the sidecars on one machine, and annotations configure the injected sidecars.
func TestDeploymentsMatchTheRunFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "dapr.yaml"))
	require.NoError(t, err)
	var file struct {
		Common struct {
			EnableAppHealthCheck   bool   `yaml:"enableAppHealthCheck"`
			AppHealthCheckPath     string `yaml:"appHealthCheckPath"`
			AppHealthProbeInterval int    `yaml:"appHealthProbeInterval"`
			AppHealthProbeTimeout  int    `yaml:"appHealthProbeTimeout"`
			AppHealthThreshold     int    `yaml:"appHealthThreshold"`
		}
		Apps []struct {
			AppID             string `yaml:"appID"`
			AppPort           int    `yaml:"appPort"`
			AppMaxConcurrency int    `yaml:"appMaxConcurrency"`
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Len(t, file.Apps, 8)
	for _, overlay := range []string{local, aws} {
		deployments := only(t, render(t, overlay), "Deployment")
		for _, app := range file.Apps {
			annotations := at[map[string]any](deployments[app.AppID], "spec", "template", "metadata", "annotations")
			want := map[string]any{
				"dapr.io/enabled":                   "true",
				"dapr.io/app-id":                    app.AppID,
				"dapr.io/config":                    app.AppID,
				"dapr.io/app-port":                  strconv.Itoa(app.AppPort),
				"dapr.io/app-protocol":              "http",
				"dapr.io/enable-app-health-check":   strconv.FormatBool(file.Common.EnableAppHealthCheck),
				"dapr.io/app-health-check-path":     file.Common.AppHealthCheckPath,
				"dapr.io/app-health-probe-interval": strconv.Itoa(file.Common.AppHealthProbeInterval),
				"dapr.io/app-health-probe-timeout":  strconv.Itoa(file.Common.AppHealthProbeTimeout),
				"dapr.io/app-health-threshold":      strconv.Itoa(file.Common.AppHealthThreshold),
				"dapr.io/app-max-concurrency":       nil,
			}
			if app.AppMaxConcurrency > 0 {
				want["dapr.io/app-max-concurrency"] = strconv.Itoa(app.AppMaxConcurrency)
			}
			for key, value := range want {
				require.Equal(t, value, annotations[key], "%s of %s in %s", key, app.AppID, overlay)
			}
		}
	}
}

// The ingress routes each public path of the contract to its service, and the internal paths below it to a service
// without pods.
func TestIngressDoesNotRouteInternalPaths(t *testing.T) {
	t.Parallel()
	public := map[string]string{
		"/api/auth": "auth-service", "/api/events": "event-service", "/api/tickets": "ticket-service",
		"/api/payments": "payment-service", "/api/notifications": "notification-service",
		"/api/analytics": "analytics-service",
	}
	want := map[string]string{}
	for path, app := range public {
		want[path], want[path+"/internal"] = app, "nowhere"
	}
	for _, overlay := range []string{local, aws} {
		all := render(t, overlay)
		got := map[string]string{}
		for _, rule := range at[[]any](only(t, all, "Ingress")["eventbooking"], "spec", "rules") {
			for _, p := range at[[]any](rule.(map[string]any), "http", "paths") {
				require.Equal(t, "Prefix", at[string](p.(map[string]any), "pathType"))
				got[at[string](p.(map[string]any), "path")] = at[string](p.(map[string]any), "backend", "service", "name")
			}
		}
		require.Equal(t, want, got, overlay)
		require.Empty(t, at[map[string]any](only(t, all, "Service")["nowhere"], "spec", "selector"))
		for _, r := range calls.Table() {
			_, after, _ := strings.Cut(r.Path, "/api/")
			require.Equal(t, "internal", strings.Split(after, "/")[1], "the ingress would route an internal path: %s", r.Path)
		}
	}
}

// A selector that matches no pod, for example after a renaming, makes its Service, PodDisruptionBudget or NetworkPolicy
// ineffective.
func TestEverySelectorSelectsAPod(t *testing.T) {
	t.Parallel()
	for _, overlay := range []string{local, aws} {
		all := render(t, overlay)
		var pods []map[string]any
		for _, o := range all {
			if o.kind() == "Deployment" || o.kind() == "StatefulSet" {
				pods = append(pods, at[map[string]any](o, "spec", "template", "metadata", "labels"))
			}
		}
		for _, o := range all {
			var selector map[string]any
			switch o.kind() {
			case "Service":
				if o.name() == "nowhere" {
					continue
				}
				selector = at[map[string]any](o, "spec", "selector")
			case "PodDisruptionBudget":
				selector = at[map[string]any](o, "spec", "selector", "matchLabels")
			case "NetworkPolicy":
				selector = at[map[string]any](o, "spec", "podSelector", "matchLabels")
			default:
				continue
			}
			require.True(t, slices.ContainsFunc(pods, func(labels map[string]any) bool {
				for k, v := range selector {
					if labels[k] != v {
						return false
					}
				}
				return true
			}), "%s: %s %s selects no pod", overlay, o.kind(), o.name())
		}
	}
}

// An API server would accept the manifests.
func TestManifestsAreValid(t *testing.T) {
	t.Parallel()
	run(t, nil, "-C", "tools/kubernetes", ".", "check", local, aws)
}

func TestCheckNamesTheDefectOfEachInvalidManifest(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", "-C", "tools/kubernetes", ".", "check",
		"../../services/tests/environments/testdata/broken")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	for name, message := range map[string]string{
		"unknown-field":           `unknown field "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystm"`,
		"wrong-type":              "cannot unmarshal string into Go struct field SecurityContext",
		"runs-as-root":            "violates the level restricted: runAsNonRoot != true",
		"unknown-annotation":      "Dapr's injector does not know the annotation dapr.io/ap-id",
		"no-type":                 "spec.type: Required value",
		"unknown-component-field": "unknown field spec.scopez",
		"unknown-version":         "Dapr defines no dapr.io/v9 Component",
	} {
		require.Regexp(t, name+": .*"+regexp.QuoteMeta(message), string(out))
	}
	require.NotContains(t, string(out), "valid:")
}
