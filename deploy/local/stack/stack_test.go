package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := FindRoot()
	require.NoError(t, err)
	return dir
}

func TestFromEnv(t *testing.T) {
	for _, name := range []string{
		"DATA_DIR", "PORT_OFFSET", "STACK_MANAGED",
		"POSTGRES_PORT", "SNSSQS_PORT", "SMTP_PORT", "MAIL_WEB_PORT", "STRIPE_SIMULATOR_PORT",
		"POSTGRES_URL", "AWS_ENDPOINT_URL", "SMTP_HOST", "STRIPE_API_KEY",
	} {
		t.Setenv(name, "")
	}

	t.Run("Defaults", func(t *testing.T) {
		cfg, err := FromEnv("/checkout")
		require.NoError(t, err)
		require.Equal(t, "/checkout/.local", cfg.DataDir)
		require.Equal(t, 15432, cfg.PostgresPort)
	})
	t.Run("OffsetDoesNotMoveExplicitPort", func(t *testing.T) {
		t.Setenv("PORT_OFFSET", "100")
		t.Setenv("SNSSQS_PORT", "4000")
		cfg, err := FromEnv("/checkout")
		require.NoError(t, err)
		require.Equal(t, 15532, cfg.PostgresPort)
		require.Equal(t, 4000, cfg.AWSPort)
	})
	t.Run("ManagedAddressesAreIgnored", func(t *testing.T) {
		t.Setenv("STACK_MANAGED", "AWS_ENDPOINT_URL SMTP_HOST SMTP_PORT")
		t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5566")
		t.Setenv("SMTP_HOST", "127.0.0.1")
		t.Setenv("SMTP_PORT", "2025")
		cfg, err := FromEnv("/checkout")
		require.NoError(t, err)
		require.Empty(t, cfg.AWSEndpoint)
		require.Empty(t, cfg.SMTP.Host)
		require.Equal(t, 1025, cfg.SMTPPort)
	})
	for _, bad := range []struct{ name, value string }{
		{"PORT_OFFSET", "many"},
		{"PORT_OFFSET", "-1"},
		{"PORT_OFFSET", "60000"},
		{"POSTGRES_PORT", "0"},
		{"SNSSQS_PORT", "70000"},
		{"POSTGRES_URL", "localhost:5432"},
		{"AWS_ENDPOINT_URL", "localhost:4566"},
		{"SMTP_HOST", "mail.example"}, // without SMTP_PORT
	} {
		t.Run("Bad"+bad.name+bad.value, func(t *testing.T) {
			t.Setenv(bad.name, bad.value)
			_, err := FromEnv("/checkout")
			named, _, _ := strings.Cut(bad.name, "_HOST")
			require.ErrorContains(t, err, named)
		})
	}
}

func TestCheckPortsNamesEachPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	taken := l.Addr().(*net.TCPAddr).Port

	err = checkPorts([]claim{{"PostgreSQL", taken, "POSTGRES_PORT"}, {"auth-service", taken, ""}})
	require.ErrorContains(t, err, "PostgreSQL")
	require.ErrorContains(t, err, "POSTGRES_PORT")
	require.ErrorContains(t, err, "auth-service")
	require.Len(t, strings.Split(err.Error(), "\n"), 2, "one line for each port")

	require.NoError(t, l.Close())
	require.NoError(t, checkPorts([]claim{{"PostgreSQL", taken, "POSTGRES_PORT"}}))
}

func TestProcess(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), owned: true}
	sleeper := func() *Process { return cfg.process("sleeper", "/bin/sh", "-c", "echo started; exec sleep 60") }

	p := sleeper()
	require.False(t, p.Alive())
	require.NoError(t, p.Start())
	logged := func(text string) {
		require.Eventually(t, func() bool { return p.Tail() == text }, 10*time.Second, time.Millisecond)
	}
	logged("started")
	first := p.PID()
	require.NotZero(t, first)
	require.NoError(t, p.Start(), "Start does nothing when the process is running")
	require.Equal(t, first, p.PID())

	found := sleeper()
	require.Equal(t, first, found.PID(), "a second Process finds it by its record")

	require.NoError(t, p.Pause())
	require.True(t, p.Alive())
	require.NoError(t, p.Resume())
	require.NoError(t, p.Kill())
	require.False(t, p.Alive())
	require.False(t, found.Alive())

	require.NoError(t, p.Restart(context.Background()))
	require.NotEqual(t, first, p.PID())
	logged("started\nstarted")
	require.NoError(t, p.Stop(context.Background(), 10*time.Second))
	require.False(t, p.Alive())
}

func TestReusedProcessIDIsNotSignalled(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir()}
	p := cfg.process("sleeper", "/bin/sh", "-c", "exec sleep 60")
	require.NoError(t, os.MkdirAll(filepath.Dir(p.record), 0o700))
	// The id of this process, with another start time.
	require.NoError(t, os.WriteFile(p.record, fmt.Appendf(nil, "%d 1\n", os.Getpid()), 0o600))
	require.False(t, p.Alive())
	require.NoError(t, p.Signal(syscall.SIGKILL), "this would kill the test")
}

func TestSecretsAreGeneratedOnce(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir()}
	cfg.standardPorts()
	first, err := cfg.loadSecrets()
	require.NoError(t, err)
	info, err := os.Stat(cfg.secretsPath())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NotContains(t, first, secretSMTPPassword)

	again, err := cfg.loadSecrets()
	require.NoError(t, err)
	require.Equal(t, first, again)

	cfg.PostgresPort++
	moved, err := cfg.loadSecrets()
	require.NoError(t, err)
	const key = "auth-service-database-url"
	require.Equal(t, strings.Replace(first[key], "15432", "15433", 1), moved[key])
}

// The dapr CLI silently ignores a misspelt key.
func TestUnknownRunFileKeyIsRefused(t *testing.T) {
	t.Parallel()
	cfg := Config{Root: t.TempDir()}
	misspelt := []byte("version: 1\ncommon:\n  resourcePath: x\n")
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Root, "dapr.yaml"), misspelt, 0o600))
	_, err := cfg.readApps()
	require.ErrorContains(t, err, "resourcePath")
}

func TestOverlayChangesRunFileAndResources(t *testing.T) {
	t.Parallel()
	cfg := Config{Root: root(t), DataDir: t.TempDir()}
	cfg.Overlay = func(path string, content []byte) ([]byte, error) {
		switch path {
		case "dapr.yaml":
			return []byte(strings.ReplaceAll(string(content), "appMaxConcurrency: 50", "appMaxConcurrency: 51")), nil
		case "components/local/pubsub.yaml":
			return []byte("changed"), nil
		}
		return content, nil
	}
	f, err := cfg.readApps()
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(f.Apps, func(a runApp) bool { return a.AppMaxConcurrency == 51 }))
	for i, dir := range []string{"components/local", "resiliency"} {
		shipped, err := filepath.Glob(filepath.Join(cfg.Root, dir, "*.yaml"))
		require.NoError(t, err)
		require.NotEmpty(t, shipped)
		for _, path := range shipped {
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			if filepath.Base(path) == "pubsub.yaml" {
				want = []byte("changed")
			}
			used, err := os.ReadFile(filepath.Join(f.Common.ResourcesPaths[i], filepath.Base(path)))
			require.NoError(t, err)
			require.Equal(t, string(want), string(used), path)
		}
	}
}

func TestRunFilePortsAreUnique(t *testing.T) {
	t.Parallel()
	cfg := Config{Root: root(t), ToolsDir: "/tools", DataDir: "/data", PortOffset: 100}
	f, err := cfg.readApps()
	require.NoError(t, err)
	require.Len(t, f.Apps, 8)
	for _, a := range f.Apps {
		cfg.Replicas = append(cfg.Replicas, a.AppID)
	}
	f, err = cfg.readApps()
	require.NoError(t, err)
	require.Len(t, f.Apps, 16)
	require.Equal(t, "auth-service-2", f.Apps[8].name)
	require.Equal(t, "auth-service", f.Apps[8].AppID)
	for _, a := range f.Apps {
		require.FileExists(t, a.ConfigFilePath)
		require.Equal(t, []string{"/tools/bin/" + a.AppID}, a.Command)
	}
	require.Equal(t, 8180, f.Apps[0].AppPort)
	ports := map[int]string{}
	cfg.standardPorts()
	for _, c := range append(appClaims(f), cfg.serverClaims()...) {
		require.Empty(t, ports[c.port], "port %d of %s", c.port, c.process)
		require.Less(t, c.port, 32768, "the operating system uses this port for outgoing connections")
		ports[c.port] = c.process
	}
}

// resource has the fields of the manifests that the tests read.
type resource struct {
	Kind     string
	Metadata struct{ Name string }
	Scopes   []string
	Spec     struct {
		PubsubName string `yaml:"pubsubname"`
		Topic      string
		Routes     map[string]any
		Secrets    struct {
			Scopes []struct {
				DefaultAccess  string   `yaml:"defaultAccess"`
				AllowedSecrets []string `yaml:"allowedSecrets"`
			}
		}
	}
}

func manifests(t *testing.T, pattern string) map[string][]resource {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][]resource{}
	for _, path := range files {
		file, err := os.Open(path)
		require.NoError(t, err)
		for dec := yaml.NewDecoder(file); ; {
			var r resource
			if dec.Decode(&r) != nil {
				break
			}
			all[filepath.Base(path)] = append(all[filepath.Base(path)], r)
		}
		require.NoError(t, file.Close())
	}
	return all
}

func TestManifestsAreScopedToTheirApps(t *testing.T) {
	t.Parallel()
	components := map[string]resource{}
	var subscriptions []resource
	for file, resources := range manifests(t, "components/local/*.yaml") {
		for _, r := range resources {
			require.NotEmpty(t, r.Scopes, "%s: %s has no scopes, so every app could use it", file, r.Metadata.Name)
			if r.Kind == "Subscription" {
				subscriptions = append(subscriptions, r)
			} else {
				components[r.Metadata.Name] = r
			}
		}
	}
	for _, s := range subscriptions {
		require.Equal(t, components[s.Spec.PubsubName].Scopes, s.Scopes, s.Metadata.Name)
		require.Equal(t, map[string]any{"default": "/events"}, s.Spec.Routes,
			"%s: the service itself routes events by their type", s.Metadata.Name)
	}
	for file, resources := range manifests(t, "resiliency/*.yaml") {
		require.Len(t, resources, 1, "%s: a sidecar reads only the first document of a file", file)
		require.NotEmpty(t, resources[0].Scopes, file)
	}
}

// Every secret that an app may read exists, and no app may read the secrets of the stack.
func TestAppsMayReadOnlySecretsThatExist(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), SMTP: SMTP{Password: "set"}}
	s, err := cfg.loadSecrets()
	require.NoError(t, err)
	read := map[string]bool{}
	for file, resources := range manifests(t, "deploy/local/config/*.yaml") {
		for _, scope := range resources[0].Spec.Secrets.Scopes {
			require.Equal(t, "deny", scope.DefaultAccess, file)
			for _, key := range scope.AllowedSecrets {
				require.NotEmpty(t, s[key], "%s: %s", file, key)
				read[key] = true
			}
		}
	}
	for key := range s {
		switch key {
		case secretAppToken, secretSuperuser, secretStateStore:
			require.False(t, read[key], key)
		default:
			require.True(t, read[key], "no app reads %s", key)
		}
	}
}

func TestEnvironmentHoldsNoSecrets(t *testing.T) {
	t.Setenv("STRIPE_API_KEY", "sk_live_secret")
	t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_live")
	t.Setenv("SMTP_PASSWORD", "secret")
	cfg := Config{
		DataDir: t.TempDir(), StripeAPIKey: "sk_live_secret", StripeWebhookSecret: "whsec_live",
		SMTP: SMTP{Host: "mail.example", Port: "25", Password: "secret"},
	}
	cfg.standardPorts()
	s, err := cfg.loadSecrets()
	require.NoError(t, err)
	require.Equal(t, "sk_live_secret", s[secretStripeKey])
	require.Equal(t, "whsec_live", s[secretStripeWebhook])
	env, err := json.Marshal(cfg.processEnv(s, &runFile{}))
	require.NoError(t, err)
	require.NotContains(t, string(env), "sk_live_secret")
	require.NotContains(t, string(env), "whsec_live")
	require.NotContains(t, string(env), "SMTP_PASSWORD")
	require.NoError(t, cfg.writeEnv(s, &runFile{}))
	file, err := os.ReadFile(filepath.Join(cfg.DataDir, "env"))
	require.NoError(t, err)
	require.NotContains(t, string(file), "sk_live_secret")
}
