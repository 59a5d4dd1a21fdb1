package resiliency_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
)

// Every sidecar loads exactly the files whose scopes include it, without an error.
func TestSidecarsLoadTheirFiles(t *testing.T) {
	t.Parallel()
	for _, app := range sidecars.Apps() {
		log, err := os.ReadFile(app.Sidecar.Log)
		require.NoError(t, err)
		var loaded, wanted []string
		for _, m := range regexp.MustCompile(`Loading Resiliency configuration: ([a-z-]+)`).FindAllSubmatch(log, -1) {
			loaded = append(loaded, string(m[1]))
		}
		for _, d := range long {
			if slices.Contains(d.Scopes, app.ID) {
				wanted = append(wanted, d.Metadata.Name)
			}
		}
		require.ElementsMatch(t, wanted, loaded, app.Name)
		require.NotContains(t, string(log), "Could not", app.Name) // the prefix of daprd's errors about policies
	}
}

// A sidecar ignores a reference to a policy that does not exist, which would leave the target without one.
func TestReferencesExist(t *testing.T) {
	t.Parallel()
	running := map[string]bool{}
	for _, app := range sidecars.Apps() {
		running[app.ID] = true
	}
	components := map[string]bool{}
	for _, c := range localComponents(t) {
		components[c.Metadata.Name] = true
	}
	owner := map[string]string{} // by policy: its file. The files of a sidecar share one name space.
	for file, d := range long {
		require.Equal(t, "Resiliency", d.Kind, file)
		require.Equal(t, "dapr.io/v1alpha1", d.APIVersion, file)
		require.Equal(t, file, d.Metadata.Name+".yaml")
		require.NotEmpty(t, d.Scopes, file)
		for _, scope := range d.Scopes {
			require.True(t, running[scope], "%s: %s", file, scope)
		}
		p := d.Spec.Policies
		for _, names := range [][]string{
			slices.Collect(maps.Keys(p.Timeouts)), slices.Collect(maps.Keys(p.Retries)), slices.Collect(maps.Keys(p.Breakers)),
		} {
			for _, name := range names {
				require.Contains(t, []string{"", file}, owner[name], name)
				owner[name] = file
			}
		}
		check := func(target string, names policies) {
			for kind, known := range map[string]bool{
				"timeout": names.Timeout == "" || p.Timeouts[names.Timeout] != "",
				"retry":   names.Retry == "" || p.Retries[names.Retry].Policy != "",
				"breaker": names.Breaker == "" || p.Breakers[names.Breaker].Trip != "",
			} {
				require.True(t, known, "%s: %s of %s", file, kind, target)
			}
		}
		for app, names := range d.Spec.Targets.Apps {
			require.True(t, running[app], "%s: %s", file, app)
			check(app, names)
		}
		for name, directions := range d.Spec.Targets.Components {
			require.True(t, components[name], "%s: %s", file, name)
			check(name, directions.Inbound)
			check(name, directions.Outbound)
		}
	}
}

// The default of a sidecar is to retry without limit.
func TestRetriesAreBounded(t *testing.T) {
	t.Parallel()
	for file, d := range long {
		for name, r := range d.Spec.Policies.Retries {
			require.NotNil(t, r.MaxRetries, "%s: %s", file, name)
			require.GreaterOrEqual(t, *r.MaxRetries, 0, "%s: %s", file, name)
		}
	}
}

func TestEveryHopHasPolicies(t *testing.T) {
	t.Parallel()
	hops := map[[2]string]bool{}
	for _, d := range long {
		for app, names := range d.Spec.Targets.Apps {
			for _, caller := range d.Scopes {
				hops[[2]string{caller, app}] = names.Timeout != "" && names.Retry != "" && names.Breaker != ""
			}
		}
	}
	for _, route := range calls.Table() {
		for _, caller := range route.Callers {
			require.True(t, hops[[2]string{caller, route.App}], "%s calls %s", caller, route.App)
		}
	}
}

func TestEveryComponentHasPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range localComponents(t) {
		var found policies
		for _, d := range long {
			target := d.Spec.Targets.Components[c.Metadata.Name]
			found.Timeout += target.Inbound.Timeout + target.Outbound.Timeout
			if strings.HasPrefix(c.Spec.Type, "bindings.") {
				found.Timeout += d.Spec.Policies.Timeouts["DefaultBindingComponentInboundTimeoutPolicy"]
			}
		}
		require.True(t, found.Timeout != "" || strings.HasPrefix(c.Spec.Type, "middleware."), c.Metadata.Name)
	}
}

// A handler must time out before the queue delivers its message again. Otherwise two replicas could process it at once.
func TestHandlersTimeOutBeforeRedelivery(t *testing.T) {
	t.Parallel()
	queues := 0
	for _, c := range localComponents(t) {
		for _, m := range c.Spec.Metadata {
			if m.Name != "messageVisibilityTimeout" {
				continue
			}
			queues++
			seconds, err := strconv.Atoi(m.Value)
			require.NoError(t, err)
			d := long["components.yaml"]
			inbound := d.Spec.Targets.Components[c.Metadata.Name].Inbound
			limit, err := time.ParseDuration(d.Spec.Policies.Timeouts[inbound.Timeout])
			require.NoError(t, err, c.Metadata.Name)
			require.Less(t, limit, time.Duration(seconds)*time.Second, c.Metadata.Name)
			require.Empty(t, inbound.Retry, "the queue itself delivers again")
			require.Empty(t, inbound.Breaker, "an open breaker would use up the deliveries of messages")
		}
	}
	require.NotZero(t, queues)
}

// The policies have the numbers of the contract. The contract defines breakers by a sliding window of calls.
func TestPoliciesMatchTheContract(t *testing.T) {
	t.Parallel()
	type numbers struct {
		window, minimum, rate, halfOpen int
		wait, slow                      string
		attempts, concurrent, perSecond int
		retry429                        bool
	}
	limits, concurrency := rateLimits(t), maxConcurrency(t)
	for callee, want := range map[string]numbers{
		"auth-service":    {10, 5, 50, 3, "30s", "2s", 3, 0, 100, false},
		"event-service":   {10, 5, 50, 3, "30s", "2s", 3, 0, 0, false}, // the defaults of the contract
		"payment-service": {10, 5, 50, 3, "30s", "2s", 3, 0, 0, false},
		"ticket-service":  {20, 10, 40, 5, "60s", "2s", 3, 50, 200, false},
		"payment-gateway": {15, 8, 30, 4, "45s", "5s", 2, 20, 50, true},
		"email-service":   {10, 5, 60, 3, "60s", "5s", 5, 100, 0, true},
	} {
		d := long[callee+".yaml"]
		b, r := d.Spec.Policies.Breakers[callee], d.Spec.Policies.Retries[callee]
		have, err := parseTrip(b.Trip)
		require.NoError(t, err)
		// This many consecutive failures reach the rate, whatever the outcome of the other calls in the window.
		run := (want.window*want.rate + 99) / 100
		require.Equal(t, trip{want.minimum, want.rate, run}, have, callee)
		require.Equal(t, want.halfOpen, b.MaxRequests, callee)
		require.Equal(t, want.wait, b.Timeout, callee)
		require.Equal(t, want.slow, d.Spec.Policies.Timeouts[callee], callee)
		require.Equal(t, want.attempts, 1+*r.MaxRetries, callee)
		require.Equal(t, want.retry429, r.retries(429), callee)
		require.Equal(t, want.concurrent, concurrency[callee], callee)
		require.Equal(t, want.perSecond, limits["rate-limit-"+callee], callee)
	}
}

// Each setting that the table in the README quotes is in the file that the row names.
func TestReadmeQuotesTheFiles(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "resiliency", "README.md"))
	require.NoError(t, err)
	quotes := 0
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) < 5 || !strings.Contains(cells[3], "`") {
			continue
		}
		file := regexp.MustCompile(`\(([^)]+\.yaml)\)`).FindStringSubmatch(cells[4])
		require.NotNil(t, file, line)
		content, err := os.ReadFile(filepath.Join(root, "resiliency", file[1]))
		require.NoError(t, err, line)
		text := strings.ReplaceAll(string(content), `"`, "")
		for _, quote := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1) {
			quotes++
			require.Contains(t, text, strings.ReplaceAll(quote[1], "\x00", "|"), line)
		}
	}
	require.Greater(t, quotes, 20)
}

func localComponents(t *testing.T) []component {
	t.Helper()
	return slices.DeleteFunc(localResources[component](t), func(c component) bool { return c.Kind != "Component" })
}

// localResources returns every document of components/local.
func localResources[T any](t *testing.T) []T {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "components", "local", "*.yaml"))
	require.NoError(t, err)
	var all []T
	for _, path := range files {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
			var resource T
			err := decoder.Decode(&resource)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, path)
			all = append(all, resource)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// rateLimits returns the limits of the rate limiters in calls per second, by name.
func rateLimits(t *testing.T) map[string]int {
	t.Helper()
	limits := map[string]int{}
	for _, c := range localComponents(t) {
		if c.Spec.Type != "middleware.http.ratelimit" {
			continue
		}
		require.Len(t, c.Spec.Metadata, 1)
		require.Equal(t, "maxRequestsPerSecond", c.Spec.Metadata[0].Name)
		n, err := strconv.Atoi(c.Spec.Metadata[0].Value)
		require.NoError(t, err)
		limits[c.Metadata.Name] = n
	}
	return limits
}

// maxConcurrency returns the appMaxConcurrency of each app in dapr.yaml.
func maxConcurrency(t *testing.T) map[string]int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "dapr.yaml"))
	require.NoError(t, err)
	var f struct {
		Apps []struct {
			AppID          string `yaml:"appID"`
			MaxConcurrency int    `yaml:"appMaxConcurrency"`
		} `yaml:"apps"`
	}
	require.NoError(t, yaml.Unmarshal(content, &f))
	limits := map[string]int{}
	for _, a := range f.Apps {
		limits[a.AppID] = a.MaxConcurrency
	}
	return limits
}

// pipelines returns the names of the rate limiters in each sidecar, by app and by position: before the sidecar's API
// ("httpPipeline") or before its app ("appHttpPipeline").
func pipelines(t *testing.T) map[string]map[string][]string {
	t.Helper()
	all := map[string]map[string][]string{}
	for _, app := range sidecars.Apps() {
		content, err := os.ReadFile(filepath.Join(root, "deploy/local/config", app.ID+".yaml"))
		require.NoError(t, err)
		type pipeline struct {
			Handlers []struct {
				Name string `yaml:"name"`
				Type string `yaml:"type"`
			} `yaml:"handlers"`
		}
		var c struct {
			Spec struct {
				Server pipeline `yaml:"httpPipeline"`
				App    pipeline `yaml:"appHttpPipeline"`
			} `yaml:"spec"`
		}
		require.NoError(t, yaml.Unmarshal(content, &c))
		all[app.ID] = map[string][]string{}
		for where, p := range map[string]pipeline{"httpPipeline": c.Spec.Server, "appHttpPipeline": c.Spec.App} {
			for _, h := range p.Handlers {
				require.Equal(t, "middleware.http.ratelimit", h.Type, app.ID+": "+where)
				all[app.ID][where] = append(all[app.ID][where], h.Name)
			}
		}
	}
	return all
}
