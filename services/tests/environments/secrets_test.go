package environments_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// `go run ./deploy/kubernetes/secrets` generates exactly the Secrets that pods of the local overlay refer to, and each
// app's file has every secret that the sidecar's configuration lets the app read.
func TestGeneratedSecretsAreThoseThatPodsUse(t *testing.T) {
	t.Parallel()
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			StringData map[string]string
		}
	}
	require.NoError(t, json.Unmarshal(run(t, nil, "./deploy/kubernetes/secrets"), &list))
	generated := map[string]map[string]string{}
	for _, item := range list.Items {
		generated[item.Metadata.Name] = item.StringData
	}

	all := render(t, local)
	used := map[string]bool{}
	use := func(name, key string) {
		require.NotEmpty(t, generated[name][key], "secret %s has no %s", name, key)
		used[name] = true
	}
	for _, o := range all {
		if o.kind() != "Deployment" && o.kind() != "StatefulSet" {
			continue
		}
		pod := at[map[string]any](o, "spec", "template", "spec")
		for _, v := range at[[]any](pod, "volumes") {
			name := at[string](v.(map[string]any), "secret", "secretName")
			switch {
			case name == "":
			case strings.HasSuffix(name, "-secrets"):
				use(name, "secrets.json")
			default:
				use(name, "databases.sql")
			}
		}
		for _, c := range at[[]any](pod, "containers") {
			for _, v := range at[[]any](c.(map[string]any), "env") {
				if ref := at[map[string]any](v.(map[string]any), "valueFrom", "secretKeyRef"); ref != nil {
					use(ref["name"].(string), ref["key"].(string))
				}
			}
		}
		annotations := object(at[map[string]any](o, "spec", "template", "metadata", "annotations"))
		for _, token := range []string{"dapr.io/api-token-secret", "dapr.io/app-token-secret"} {
			if name, ok := annotations[token].(string); ok {
				use(name, "token")
			}
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(generated)), slices.Collect(maps.Keys(used)),
		"a generated Secret is not used")

	for app, o := range only(t, all, "Configuration") {
		var own map[string]string
		require.NoError(t, json.Unmarshal([]byte(generated[app+"-secrets"]["secrets.json"]), &own))
		for _, scope := range at[[]any](o, "spec", "secrets", "scopes") {
			for _, name := range at[[]any](scope.(map[string]any), "allowedSecrets") {
				if name == "email-service-smtp-password" { // the mail sink requires none
					continue
				}
				require.NotEmpty(t, own[name.(string)], "%s of %s", name, app)
			}
		}
		for name, value := range own {
			database, isDatabase := strings.CutPrefix(value, "postgres://")
			if isDatabase {
				role, rest, _ := strings.Cut(database, ":")
				password, _, _ := strings.Cut(rest, "@")
				require.Contains(t, generated["postgres-databases"]["databases.sql"],
					"CREATE ROLE "+role+" LOGIN PASSWORD '"+password+"';\nCREATE DATABASE "+role+" OWNER "+role+";", name)
			}
		}
	}
}
