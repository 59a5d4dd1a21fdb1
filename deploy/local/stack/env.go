package stack

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// variable is an environment variable that the apps and sidecars inherit.
type variable struct{ name, value string }

func (c *Config) awsEndpoint() string {
	if c.AWSEndpoint != "" {
		return c.AWSEndpoint
	}
	return "http://" + loopback(c.AWSPort)
}

// otlpAddress returns the host and port of OTLPEndpoint, for the configuration of the sidecars.
func (c *Config) otlpAddress() string {
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil { // validate has checked it
		return ""
	}
	return u.Host
}

// environment returns the variables that a shell needs for `dapr run -f .`. The only secret among them is the app API
// token, which a sidecar reads from nowhere else.
func (c *Config) environment(s secrets, f *runFile) []variable {
	vars := []variable{
		{"APP_API_TOKEN", s[secretAppToken]},
		{"LISTEN_HOST", "127.0.0.1"},
		// Without it a sidecar looks up an address of the machine, and exits on a machine without a network.
		{"DAPR_HOST_IP", "127.0.0.1"},
		{"AWS_ENDPOINT_URL", c.awsEndpoint()},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", c.OTLPEndpoint},
		{"OTLP_ADDRESS", c.otlpAddress()},
	}
	var managed []string
	if os.Getenv("PUBLIC_URL") == "" || c.PortOffset != 0 {
		for _, a := range f.Apps {
			if a.AppID == "ticket-service" { // its URLs are in the e-mails
				vars = append(vars, variable{"PUBLIC_URL", "http://" + loopback(a.AppPort)})
			}
		}
	}
	manage := func(name, value string) {
		vars = append(vars, variable{name, value})
		managed = append(managed, name)
	}
	if c.AWSEndpoint == "" {
		managed = append(managed, "AWS_ENDPOINT_URL")
		manage("AWS_ACCESS_KEY_ID", "local")
		manage("AWS_SECRET_ACCESS_KEY", "local")
		manage("AWS_SESSION_TOKEN", "")
		manage("AWS_PROFILE", "")
	}
	if c.SMTP.Host == "" {
		manage("SMTP_HOST", "127.0.0.1")
		manage("SMTP_PORT", strconv.Itoa(c.SMTPPort))
		manage("SMTP_USERNAME", "")
		manage("SMTP_TLS", "none")
		manage("SMTP_FROM", "Event Booking <tickets@eventbooking.local>")
	} else {
		vars = append(vars, variable{"SMTP_HOST", c.SMTP.Host}, variable{"SMTP_PORT", c.SMTP.Port})
		optional := []variable{{"SMTP_USERNAME", c.SMTP.Username}, {"SMTP_FROM", c.SMTP.From}, {"SMTP_TLS", c.SMTP.TLS}}
		for _, v := range optional {
			if v.value != "" {
				vars = append(vars, v)
			}
		}
	}
	if c.StripeAPIKey == "" {
		manage("STRIPE_API_BASE", "http://"+loopback(c.StripeSimulatorPort))
	} else {
		vars = append(vars, variable{"STRIPE_API_BASE", ""})
	}
	return append(vars, variable{"STACK_MANAGED", strings.Join(managed, " ")})
}

// processEnv returns the environment of this process with the stack's variables added. STRIPE_API_KEY,
// STRIPE_WEBHOOK_SECRET and SMTP_PASSWORD are left out: apps read them from the secret store.
func (c *Config) processEnv(s secrets, f *runFile) []string {
	set := map[string]bool{
		"STRIPE_API_KEY": true, "STRIPE_WEBHOOK_SECRET": true, "SMTP_PASSWORD": true, "POSTGRES_URL": true,
	}
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

// writeEnv writes the environment as a file that a shell can source.
func (c *Config) writeEnv(s secrets, f *runFile) error {
	var b strings.Builder
	b.WriteString("# Run `. " + filepath.Join(c.DataDir, "env") + "` in a shell before `dapr run -f .`\n")
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

// writeWrapper writes a script that runs daprd to the path where the dapr CLI looks for daprd. The script adds
// loopbackArgs.
func (c *Config) writeWrapper(daprd string) error {
	path := filepath.Join(c.DataDir, ".dapr", "bin", "daprd")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the daprd wrapper: %w", err)
	}
	quoted := "'" + strings.ReplaceAll(daprd, "'", `'\''`) + "'"
	script := "#!/bin/sh\nexec " + quoted + " " + strings.Join(loopbackArgs, " ") + " \"$@\"\n"
	if err := replaceFile(path, []byte(script), 0o755); err != nil {
		return fmt.Errorf("write the daprd wrapper: %w", err)
	}
	return nil
}

// loopbackArgs make two servers of a sidecar listen on loopback only: the one for other sidecars and the one for
// metrics. By default they listen on all interfaces, and dapr.yaml has no keys for their addresses.
var loopbackArgs = []string{"--dapr-internal-grpc-listen-address=127.0.0.1", "--metrics-listen-address=127.0.0.1"}
