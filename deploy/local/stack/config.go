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

// Config says where a stack lives, which ports it takes and which of its servers are somebody else's.
type Config struct {
	// Root is the checkout.
	Root string
	// ToolsDir holds what is built or installed once for every stack of this checkout: binaries and npm packages.
	ToolsDir string
	// DataDir holds everything that belongs to one stack.
	DataDir string
	// PortOffset is added to every port, so that several stacks fit on one machine.
	PortOffset int
	// Out is where progress goes.
	Out io.Writer

	PostgresPort        int
	AWSPort             int
	SMTPPort            int
	MailWebPort         int
	StripeSimulatorPort int

	// PostgresURL is a superuser's URL of a server to use instead of starting one.
	PostgresURL string
	// AWSEndpoint is the URL of an SNS/SQS endpoint to use instead of starting the emulator. The credentials are the
	// usual AWS_* variables.
	AWSEndpoint string
	// SMTP is a mail server to use instead of starting the sink.
	SMTP SMTP
	// StripeAPIKey is a key of the real Stripe, which is then used instead of starting the simulator.
	StripeAPIKey string
	// StripeWebhookSecret is what the real Stripe signs its webhooks with.
	StripeWebhookSecret string
	// OTLPEndpoint is the URL of what collects spans over OTLP/HTTP, if anything does.
	OTLPEndpoint string

	// Replicas are the app-ids of apps that Start runs twice. The second one is named after the first, as in
	// ticket-service-2, and takes the ports replicaShift above the first one's.
	Replicas []string
	// Interpose, where set, comes between each app and its sidecar: Start tells it the app's name and URL, and the sidecar
	// calls the port that it gives.
	Interpose func(app, url string) (port int, err error)
	// Overlay, where set, changes what a stack is made from: it is given dapr.yaml and each file of the resources, by its
	// path in the checkout, and gives what to use in its place.
	Overlay func(path string, content []byte) ([]byte, error)

	owned bool // processes end with ours
}

// replicaShift is how far the ports of a replica are from the first one's.
const replicaShift = 10

// SMTP is a mail server, in email-service's words.
type SMTP struct {
	Host, Port, Username, Password, From, TLS string
}

// maxPort is the highest port of a stack without an offset, PostgreSQL's.
const maxPort = 15432

// FromEnv is the stack of the checkout at root as the environment wants it; its errors name the variable.
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

	// A shell that has read .local/env holds this stack's own addresses, which are not a person's choice of server.
	ours := strings.Fields(os.Getenv("STACK_MANAGED"))
	env := func(name string) string {
		if slices.Contains(ours, name) {
			return ""
		}
		return os.Getenv(name)
	}
	cfg.PostgresURL, cfg.AWSEndpoint, cfg.StripeAPIKey = env("POSTGRES_URL"), env("AWS_ENDPOINT_URL"), env("STRIPE_API_KEY")
	cfg.StripeWebhookSecret = env("STRIPE_WEBHOOK_SECRET")
	cfg.OTLPEndpoint = env("OTEL_EXPORTER_OTLP_ENDPOINT")
	cfg.SMTP = SMTP{
		Host: env("SMTP_HOST"), Port: env("SMTP_PORT"), Username: env("SMTP_USERNAME"),
		Password: env("SMTP_PASSWORD"), From: env("SMTP_FROM"), TLS: env("SMTP_TLS"),
	}
	return cfg, cfg.validate()
}

// serverPort is the port of one of our servers.
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

// serverClaims are the ports of all our servers.
func (c *Config) serverClaims() []claim {
	var claims []claim
	for _, p := range c.serverPorts() {
		claims = append(claims, claim{p.process, *p.port, p.variable})
	}
	return claims
}

// setPorts fills in the ports of our own servers: the offset shifts all of them, a variable moves one.
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
			return errors.New("POSTGRES_URL: not a URL of the form postgres://superuser:password@host:port/database")
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
		return errors.New("SMTP_PORT: needed with SMTP_HOST")
	}
	return nil
}

// Throwaway is a stack in a temporary directory and on free ports, for a test. It shares the checkout's tools, and
// ignores variables that point at a person's own servers: a test owns what it breaks.
func Throwaway(root string) (Config, error) {
	// `stack test` names the parent, so that it can clear up after a test that was killed.
	dir, err := os.MkdirTemp(os.Getenv("STACK_TEST_DIR"), "eventbooking-")
	if err != nil {
		return Config{}, fmt.Errorf("make a data directory: %w", err)
	}
	// PostgreSQL may run as another user than we do.
	if err := os.Chmod(dir, 0o755); err != nil {
		return Config{}, fmt.Errorf("open the data directory: %w", err)
	}
	cfg := Config{Root: root, ToolsDir: filepath.Join(root, ".local"), DataDir: dir, Out: io.Discard}
	cfg.PortOffset, err = freeOffset(root)
	if err != nil {
		return Config{}, err
	}
	cfg.standardPorts()
	return cfg, nil
}

// FindRoot is the checkout that contains the working directory.
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
			return "", errors.New("no dapr.yaml here or above: run this inside the checkout")
		}
		dir = parent
	}
}
