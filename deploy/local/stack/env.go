package stack

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// variable is one that the apps and sidecars inherit.
type variable struct{ name, value string }

func (c *Config) awsEndpoint() string {
	if c.AWSEndpoint != "" {
		return c.AWSEndpoint
	}
	return "http://" + loopback(c.AWSPort)
}

// otlpAddress is the host and port that the sidecars' configuration wants of OTLPEndpoint.
func (c *Config) otlpAddress() string {
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil { // validate has said so
		return ""
	}
	return u.Host
}

// environment is what a shell needs for `dapr run -f .`. Secrets are not in it, but for the token that has no other way
// to a sidecar.
func (c *Config) environment(s secrets, f *runFile) []variable {
	vars := []variable{
		{"APP_API_TOKEN", s[secretAppToken]},
		{"LISTEN_HOST", "127.0.0.1"},
		// A sidecar looks for an address of the machine's otherwise, and ends where there is none, as without a network.
		{"DAPR_HOST_IP", "127.0.0.1"},
		{"AWS_ENDPOINT_URL", c.awsEndpoint()},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", c.OTLPEndpoint},
		{"OTLP_ADDRESS", c.otlpAddress()},
	}
	var managed []string
	if os.Getenv("PUBLIC_URL") == "" || c.PortOffset != 0 {
		for _, a := range f.Apps {
			if a.AppID == "ticket-service" { // whose addresses are in the mails
				vars = append(vars, variable{"PUBLIC_URL", "http://" + loopback(a.AppPort)})
			}
		}
	}
	ours := func(name, value string) {
		vars = append(vars, variable{name, value})
		managed = append(managed, name)
	}
	if c.AWSEndpoint == "" {
		managed = append(managed, "AWS_ENDPOINT_URL")
		ours("AWS_ACCESS_KEY_ID", "local")
		ours("AWS_SECRET_ACCESS_KEY", "local")
		ours("AWS_SESSION_TOKEN", "")
		ours("AWS_PROFILE", "")
	}
	if c.SMTP.Host == "" {
		ours("SMTP_HOST", "127.0.0.1")
		ours("SMTP_PORT", strconv.Itoa(c.SMTPPort))
		ours("SMTP_USERNAME", "")
		ours("SMTP_TLS", "none")
		ours("SMTP_FROM", "Event Booking <tickets@eventbooking.local>")
	} else {
		vars = append(vars, variable{"SMTP_HOST", c.SMTP.Host}, variable{"SMTP_PORT", c.SMTP.Port})
		for _, v := range []variable{{"SMTP_USERNAME", c.SMTP.Username}, {"SMTP_FROM", c.SMTP.From}, {"SMTP_TLS", c.SMTP.TLS}} {
			if v.value != "" {
				vars = append(vars, v)
			}
		}
	}
	if c.StripeAPIKey == "" {
		ours("STRIPE_API_BASE", "http://"+loopback(c.StripeSimulatorPort))
	} else {
		vars = append(vars, variable{"STRIPE_API_BASE", ""})
	}
	return append(vars, variable{"STACK_MANAGED", strings.Join(managed, " ")})
}

// processEnv is our own environment with the stack's variables in it. STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET and
// SMTP_PASSWORD are in the secret store by now, and no process needs them from here.
func (c *Config) processEnv(s secrets, f *runFile) []string {
	set := map[string]bool{"STRIPE_API_KEY": true, "STRIPE_WEBHOOK_SECRET": true, "SMTP_PASSWORD": true, "POSTGRES_URL": true}
	var env []string
	for _, v := range c.environment(s, f) {
		set[v.name] = true
		if v.value != "" {
			env = append(env, v.name+"="+v.value)
		}
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); !set[name] {
			env = append(env, pair)
		}
	}
	return env
}

// writeEnv writes the environment as a file that a shell can read.
func (c *Config) writeEnv(s secrets, f *runFile) error {
	var b strings.Builder
	b.WriteString("# For `. " + filepath.Join(c.DataDir, "env") + "` in a shell that is to run `dapr run -f .`\n")
	for _, v := range c.environment(s, f) {
		if v.value == "" {
			fmt.Fprintf(&b, "unset %s\n", v.name)
			continue
		}
		fmt.Fprintf(&b, "export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`))
	}
	if err := replaceFile(filepath.Join(c.DataDir, "env"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	return nil
}

// writeWrapper puts a daprd where the dapr CLI looks for one. It adds what dapr.yaml has no keys for: without it the
// servers between sidecars and for metrics would listen on every interface.
func (c *Config) writeWrapper(daprd string) error {
	path := filepath.Join(c.DataDir, ".dapr", "bin", "daprd")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("put daprd in its place: %w", err)
	}
	script := "#!/bin/sh\nexec '" + strings.ReplaceAll(daprd, "'", `'\''`) + "' " + strings.Join(loopbackArgs, " ") + " \"$@\"\n"
	if err := replaceFile(path, []byte(script), 0o755); err != nil {
		return fmt.Errorf("put daprd in its place: %w", err)
	}
	return nil
}

// loopbackArgs keep those servers of a sidecar on loopback that dapr.yaml has no keys for.
var loopbackArgs = []string{"--dapr-internal-grpc-listen-address=127.0.0.1", "--metrics-listen-address=127.0.0.1"}
