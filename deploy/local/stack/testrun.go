package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Test checks the code (go vet, gofumpt, golangci-lint) and runs every test, with a throwaway PostgreSQL at
// TEST_DATABASE_URL. Whatever happens, nothing that it or a test started is left running.
func Test(ctx context.Context, cfg Config) (err error) {
	// What tests get is theirs alone: a person's own servers are not for breaking.
	cfg.PostgresURL, cfg.AWSEndpoint, cfg.SMTP, cfg.StripeAPIKey = "", "", SMTP{}, ""
	t, err := ensureTools(ctx, cfg)
	if err != nil {
		return err
	}
	if err := cfg.ensureLint(ctx); err != nil {
		return err
	}
	if _, err := EnsurePromtool(ctx, cfg); err != nil {
		return err
	}
	parent, err := os.MkdirTemp("", "eventbooking-test-")
	if err != nil {
		return fmt.Errorf("make a directory for the tests: %w", err)
	}
	if err := os.Chmod(parent, 0o755); err != nil {
		return fmt.Errorf("open the directory for the tests: %w", err)
	}
	defer func() { err = errors.Join(err, sweep(parent, err == nil)) }()
	if err := os.Setenv("STACK_TEST_DIR", parent); err != nil {
		return fmt.Errorf("prepare the tests: %w", err)
	}

	var wrong []error
	for _, check := range []struct {
		name string
		args []string
	}{
		{"go vet", []string{"go", "vet", "./..."}},
		{"gofumpt", []string{cfg.bin("gofumpt"), "-l", "deploy", "services", "tools"}},
		{"golangci-lint", []string{cfg.bin("golangci-lint"), "run", "--allow-parallel-runners", "./..."}},
	} {
		wrong = append(wrong, cfg.check(ctx, check.name, check.args))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}

	own, err := Throwaway(cfg.Root)
	if err != nil {
		return err
	}
	own.Out = cfg.Out
	own.owned = true
	s, err := own.loadSecrets()
	if err != nil {
		return err
	}
	postgres, err := own.postgres(t, s)
	if err != nil {
		return err
	}
	if err := own.startServer(ctx, postgres); err != nil {
		return err
	}
	list := exec.CommandContext(ctx, "go", "list", "./...")
	list.Dir, list.Stderr = cfg.Root, os.Stderr
	listed, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	// What runs the whole system takes turns: two systems on one machine would try each other's patience.
	var parts []string
	wholes := []string{"-p=1"}
	for pkg := range strings.FieldsSeq(string(listed)) {
		if strings.Contains(pkg, "/services/tests/") {
			wholes = append(wholes, pkg)
		} else {
			parts = append(parts, pkg)
		}
	}
	began := time.Now()
	for _, packages := range [][]string{parts, wholes} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout=20m"}, packages...)...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = cfg.Root, os.Stdout, os.Stderr
		cmd.Env = append(testEnv(), "TEST_DATABASE_URL="+own.superuserURL(s))
		// Tests get to stop what they started.
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
		cmd.WaitDelay = 30 * time.Second
		wrong = append(wrong, cmd.Run())
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	cfg.say("go test", fmt.Sprintf("passed after %s", time.Since(began).Round(time.Second)))
	return nil
}

// testEnv is our environment without what points at a person's own servers or at a stack that is up.
func testEnv() []string {
	var env []string
	for _, pair := range os.Environ() {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "POSTGRES_URL", "STRIPE_API_KEY", "STRIPE_API_BASE", "PORT_OFFSET", "DATA_DIR", "STACK_MANAGED", "APP_API_TOKEN":
		default:
			if !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "SMTP_") && !strings.HasPrefix(name, "OTEL_") {
				env = append(env, pair)
			}
		}
	}
	return env
}

// check runs a program that says what is wrong, and fails or says something when anything is.
func (c *Config) check(ctx context.Context, name string, args []string) error {
	done := c.progress(name, "check")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = c.Root
	out, err := cmd.CombinedOutput()
	if err != nil || (name == "gofumpt" && len(out) > 0) {
		done("failed")
		return fmt.Errorf("%s:\n%s", name, out)
	}
	done("passed")
	return nil
}

// sweep stops whatever was started under the directory, the tests' own leftovers included. The directory goes as well,
// unless the logs in it are wanted to find out what failed.
func sweep(parent string, passed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dirs, err := filepath.Glob(filepath.Join(parent, "*"))
	if err != nil {
		return fmt.Errorf("find what the tests left: %w", err)
	}
	var failures []error
	for _, dir := range dirs {
		left := Config{DataDir: dir}
		failures = append(failures, left.stopRecorded(ctx))
	}
	logs, err := filepath.Glob(filepath.Join(parent, "*", "logs", "*-sidecar.log"))
	if err != nil || passed || len(logs) == 0 {
		failures = append(failures, os.RemoveAll(parent))
	} else {
		failures = append(failures, fmt.Errorf("logs and data of the stacks under test are left in %s", parent))
	}
	return errors.Join(failures...)
}

// Clean stops the stack and removes everything that it or a tool has written.
func Clean(ctx context.Context, cfg Config) error {
	if err := Down(ctx, cfg); err != nil {
		return err
	}
	remove := []string{cfg.ToolsDir, cfg.refuge()}
	// DATA_DIR may be a directory that holds more than a stack.
	for _, name := range []string{
		".dapr", "dapr.yaml", "env", "fauxqs", "logs", "mail", "nameresolution.db", "nameresolution.db-shm", "nameresolution.db-wal",
		"postgres", "run", "secrets.json", "stripe",
	} {
		remove = append(remove, filepath.Join(cfg.DataDir, name))
	}
	for _, path := range remove {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("clean: %w", err)
		}
	}
	return nil
}
