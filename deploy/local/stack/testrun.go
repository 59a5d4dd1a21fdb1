package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Test checks the code (go vet, gofumpt, golangci-lint), runs every test, and runs every fuzz target for a short time.
// The tests get a temporary PostgreSQL at TEST_DATABASE_URL. Test stops every process that it or a test has started,
// also after an error.
func Test(ctx context.Context, cfg Config) (err error) {
	// Tests may damage their servers, so they never use external ones.
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
		return fmt.Errorf("create a directory for the tests: %w", err)
	}
	if err := os.Chmod(parent, 0o755); err != nil {
		return fmt.Errorf("make the directory for the tests readable: %w", err)
	}
	defer func() { err = errors.Join(err, cleanUp(parent, err == nil)) }()
	if err := os.Setenv("STACK_TEST_DIR", parent); err != nil {
		return fmt.Errorf("prepare the tests: %w", err)
	}
	if err := cfg.checkCode(ctx); err != nil {
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
	return cfg.runTests(ctx, append(testEnv(), "TEST_DATABASE_URL="+own.superuserURL(s)))
}

// checkCode runs the linters. Its error has the findings of all of them.
func (c *Config) checkCode(ctx context.Context) error {
	return errors.Join(
		c.check(ctx, "go vet", "go", "vet", "./..."),
		c.check(ctx, "gofumpt", c.bin("gofumpt"), "-l", "deploy", "services", "tools"),
		c.check(ctx, "golangci-lint", c.bin("golangci-lint"), "run", "--allow-parallel-runners", "./..."),
	)
}

// check runs one linter. The linter failed if it exits with an error, or if it is gofumpt and prints a file name.
func (c *Config) check(ctx context.Context, name, program string, args ...string) error {
	done := c.progress(name, "check")
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.Root
	out, err := cmd.CombinedOutput()
	if err != nil || (name == "gofumpt" && len(out) > 0) {
		done("failed")
		return fmt.Errorf("%s:\n%s", name, out)
	}
	done("passed")
	return nil
}

// runTests runs the tests and the fuzz targets of all packages in the given environment.
func (c *Config) runTests(ctx context.Context, env []string) error {
	list := exec.CommandContext(ctx, "go", "list", "./...")
	list.Dir, list.Stderr = c.Root, os.Stderr
	listed, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	// Unit and store tests run with the race detector. Tests of the whole system run without it, because it does not see
	// the processes that they start, and one package at a time, because two systems on one machine would exceed the
	// deadlines of each other's tests.
	var unit, system []string
	for pkg := range strings.FieldsSeq(string(listed)) {
		if strings.Contains(pkg, "/services/tests/") {
			system = append(system, pkg)
		} else {
			unit = append(unit, pkg)
		}
	}
	began := time.Now()
	err = errors.Join(
		c.goTest(ctx, env, slices.Concat(c.raceFlag(ctx), unit)),
		c.goTest(ctx, env, append([]string{"-p=1"}, system...)),
	)
	if err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	c.report("go test", "passed after "+time.Since(began).Round(time.Second).String())
	return c.fuzz(ctx, env, slices.Concat(unit, system))
}

// goTest runs go test with further arguments, and prints its output.
func (c *Config) goTest(ctx context.Context, env, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout=20m"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Root, env, os.Stdout, os.Stderr
	interruptible(cmd)
	return cmd.Run()
}

// interruptible makes the end of its context interrupt cmd, so that tests can stop the processes that they have
// started. cmd is killed after 30 s.
func interruptible(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
}

// raceFlag returns the flag that turns the race detector on. The detector needs cgo and a C compiler. Where they are
// missing, raceFlag reports that and returns nothing.
func (c *Config) raceFlag(ctx context.Context) []string {
	cmd := exec.CommandContext(ctx, "go", "build", "-race", "runtime/cgo")
	cmd.Dir = c.Root
	out, err := cmd.CombinedOutput()
	if err == nil {
		return []string{"-race"}
	}
	reason, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	c.report("race detector", fmt.Sprintf(
		"not available: it needs cgo and a C compiler such as gcc. The tests run without it. (%s)", reason))
	return nil
}

// testEnv returns the environment of this process without the variables of external servers and of a running stack.
func testEnv() []string {
	var env []string
	for _, pair := range os.Environ() {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "POSTGRES_URL", "STRIPE_API_KEY", "STRIPE_API_BASE",
			"PORT_OFFSET", "DATA_DIR", "STACK_MANAGED", "APP_API_TOKEN":
		default:
			if !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "SMTP_") && !strings.HasPrefix(name, "OTEL_") {
				env = append(env, pair)
			}
		}
	}
	return env
}

// cleanUp stops every process that was started in a directory below parent, and removes parent. If the tests failed, it
// keeps the logs and data of the stacks under test, and its error says where.
func cleanUp(parent string, passed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dirs, err := filepath.Glob(filepath.Join(parent, "*"))
	if err != nil {
		return fmt.Errorf("list the directories of the tests: %w", err)
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
		failures = append(failures, fmt.Errorf("the logs and data of the tested stacks are in %s", parent))
	}
	return errors.Join(failures...)
}
