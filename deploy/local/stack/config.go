package stack

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is the configuration of a stack: its directories and ports, and the external servers that it uses.
type Config struct {
	// Root is the directory of the checkout.
	Root string
	// ToolsDir holds what is built or installed once for all stacks of a checkout: binaries and npm packages.
	ToolsDir string
	// DataDir holds the state of one stack.
	DataDir string
	// PortOffset is added to every port, so that several stacks can run on one machine.
	PortOffset int
	// Out receives the messages about progress.
	Out io.Writer

	PostgresPort        int
	AWSPort             int
	SMTPPort            int
	MailWebPort         int
	StripeSimulatorPort int

	// PostgresURL, if set, is the URL of a superuser on an external server, which is used instead of starting one.
	PostgresURL string
	// AWSEndpoint, if set, is the URL of an external SNS/SQS endpoint, which is used instead of starting the emulator. Its
	// credentials are in the AWS_* variables.
	AWSEndpoint string
	// SMTP, if its host is set, is an external mail server, which is used instead of starting the mail sink.
	SMTP SMTP
	// StripeAPIKey, if set, is a key of the real Stripe, which is used instead of starting the simulator.
	StripeAPIKey string
	// StripeWebhookSecret is the secret with which the real Stripe signs its webhooks.
	StripeWebhookSecret string
	// OTLPEndpoint, if set, is the URL of a collector that receives spans over OTLP/HTTP.
	OTLPEndpoint string

	// Replicas are the app-ids of the apps that Start runs twice. The name of the second process ends in -2, as in
	// ticket-service-2, and its ports are replicaShift above those of the first.
	Replicas []string
	// Interpose, if set, puts a proxy between each app and its sidecar. Start calls it with the name and the URL of each
	// app, and the sidecar calls the port that it returns.
	Interpose func(app, url string) (port int, err error)
	// Tunnel, if set, puts a proxy into the connections that each app opens. Start calls it with the name and the address
	// of each: <app-id>-to-database, for all replicas, and <name>-to-sidecar-http and -grpc. The app connects to the port
	// that it returns.
	Tunnel func(name, address string) (port int, err error)
	// Overlay, if set, changes dapr.yaml and the files of the resources. It is called with the path of each in the
	// checkout and its content, and returns the content to use.
	Overlay func(path string, content []byte) ([]byte, error)

	owned bool // the processes end with this one
}

// replicaShift is the difference between the ports of a replica and those of the first process.
const replicaShift = 10

// SMTP is a mail server. The fields are the variables of email-service.
type SMTP struct {
	Host, Port, Username, Password, From, TLS string
}

// maxPort is the highest port of a stack without an offset. It is PostgreSQL's.
const maxPort = 15432

// FromEnv returns the configuration of the stack of the checkout at root, from the environment. An error names the
// variable.
func FromEnv(root string) (Config, error) {
	cfg := Config{Root: root, ToolsDir: filepath.Join(root, ".local"), Out: os.Stdout}
	cfg.DataDir = cfg.ToolsDir
	if dir := os.Getenv("DATA_DIR"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Config{}, fmt.Errorf("DATA_DIR: %w", err)
		}
		cfg.DataDir = abs
	}
	if s := os.Getenv("PORT_OFFSET"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 65535-maxPort {
			return Config{}, fmt.Errorf("PORT_OFFSET: %q is not a number from 0 to %d", s, 65535-maxPort)
		}
		cfg.PortOffset = n
	}
	if err := cfg.setPorts(); err != nil {
		return Config{}, err
	}

	// A shell that has sourced .local/env has the addresses of this stack's own servers in these variables. They do not
	// name external servers.
	managed := strings.Fields(os.Getenv("STACK_MANAGED"))
	env := func(name string) string {
		if slices.Contains(managed, name) {
			return ""
		}
		return os.Getenv(name)
	}
	cfg.PostgresURL = env("POSTGRES_URL")
	cfg.AWSEndpoint = env("AWS_ENDPOINT_URL")
	cfg.StripeAPIKey = env("STRIPE_API_KEY")
	cfg.StripeWebhookSecret = env("STRIPE_WEBHOOK_SECRET")
	cfg.OTLPEndpoint = env("OTEL_EXPORTER_OTLP_ENDPOINT")
	cfg.SMTP = SMTP{
		Host: env("SMTP_HOST"), Port: env("SMTP_PORT"), Username: env("SMTP_USERNAME"),
		Password: env("SMTP_PASSWORD"), From: env("SMTP_FROM"), TLS: env("SMTP_TLS"),
	}
	return cfg, cfg.validate()
}

// serverPort is one port of a server that the stack starts.
type serverPort struct {
	port     *int
	variable string
	standard int
	process  string
}

func (c *Config) serverPorts() []serverPort {
	return []serverPort{
		{&c.PostgresPort, "POSTGRES_PORT", maxPort, "PostgreSQL"},
		{&c.AWSPort, "SNSSQS_PORT", 4566, "the SNS/SQS emulator"},
		{&c.SMTPPort, "SMTP_PORT", 1025, "the mail sink (SMTP)"},
		{&c.MailWebPort, "MAIL_WEB_PORT", 1080, "the mail sink (web)"},
		{&c.StripeSimulatorPort, "STRIPE_SIMULATOR_PORT", 12111, "the Stripe simulator"},
	}
}

func (c *Config) standardPorts() {
	for _, p := range c.serverPorts() {
		*p.port = p.standard + c.PortOffset
	}
}

// serverClaims returns the ports of all servers that the stack can start.
func (c *Config) serverClaims() []claim {
	var claims []claim
	for _, p := range c.serverPorts() {
		claims = append(claims, claim{p.process, *p.port, p.variable})
	}
	return claims
}

// setPorts sets the ports of the servers. The offset is added to all standard ports; a variable replaces one port.
func (c *Config) setPorts() error {
	c.standardPorts()
	for _, p := range c.serverPorts() {
		s := os.Getenv(p.variable)
		if s == "" || slices.Contains(strings.Fields(os.Getenv("STACK_MANAGED")), p.variable) {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%s: %q is not a port", p.variable, s)
		}
		*p.port = n
	}
	return nil
}

func (c *Config) validate() error {
	if c.PostgresURL != "" {
		u, err := url.Parse(c.PostgresURL)
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Host == "" {
			return errors.New("POSTGRES_URL: it must have the form postgres://superuser:password@host:port/database")
		}
	}
	if c.AWSEndpoint != "" {
		u, err := url.Parse(c.AWSEndpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("AWS_ENDPOINT_URL: %q is not an http or https URL", c.AWSEndpoint)
		}
	}
	if c.OTLPEndpoint != "" {
		u, err := url.Parse(c.OTLPEndpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %q is not an http or https URL", c.OTLPEndpoint)
		}
	}
	if c.SMTP.Host != "" && c.SMTP.Port == "" {
		return errors.New("SMTP_PORT: it is required with SMTP_HOST")
	}
	return nil
}

// Throwaway returns the configuration of a stack for a test, in a temporary directory and on free ports. It uses the
// tools of the checkout. It ignores the variables of external servers, because a test may damage its servers.
func Throwaway(root string) (Config, error) {
	// `stack test` sets the parent directory, so that it can clean up after a test that was killed.
	dir, err := os.MkdirTemp(os.Getenv("STACK_TEST_DIR"), "eventbooking-")
	if err != nil {
		return Config{}, fmt.Errorf("make a data directory: %w", err)
	}
	// PostgreSQL may run as another user, who needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return Config{}, fmt.Errorf("make the data directory readable: %w", err)
	}
	cfg := Config{Root: root, ToolsDir: filepath.Join(root, ".local"), DataDir: dir, Out: io.Discard}
	cfg.PortOffset, err = freeOffset(root)
	if err != nil {
		return Config{}, err
	}
	cfg.standardPorts()
	return cfg, nil
}

// FindRoot returns the checkout that contains the working directory.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "dapr.yaml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no dapr.yaml in this directory or above: run this command inside the checkout")
		}
		dir = parent
	}
}
