package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// Up starts everything that is not running yet, waits until all of it is healthy, and leaves it running. It restarts
// the apps and sidecars when the checkout has changed since they were started.
func Up(ctx context.Context, cfg Config) (*Stack, error) {
	st, t, err := upServers(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(cfg.lockPath())
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := cfg.readApps()
	if err != nil {
		return nil, err
	}
	stamp, err := cfg.appsStamp(f, st.secrets, t)
	if err != nil {
		return nil, err
	}
	stampPath := filepath.Join(cfg.DataDir, "run", "apps.stamp")
	cli := cfg.process("dapr", t.dapr, "run", "-f", cfg.Root)
	cli.dir, cli.env = cfg.Root, cfg.processEnv(st.secrets, f)
	if cli.Alive() {
		have, err := os.ReadFile(stampPath)
		if err == nil && string(have) == stamp && st.healthyWithin(ctx, 10*time.Second) {
			cfg.report("apps", "already running")
			return st, nil
		}
		cfg.report("apps", "changed or not healthy: restarting them")
	}
	// If the CLI was killed, apps and sidecars of an earlier run may still be running.
	if err := cfg.stopApps(ctx, cli); err != nil {
		return nil, err
	}
	if err := checkPorts(appClaims(f)); err != nil {
		return nil, err
	}
	if cli.args, err = cfg.runArgs(f); err != nil {
		return nil, err
	}
	// The CLI creates new logs for each run. Old ones are removed so that only the logs of this run are read.
	logs := filepath.Join(cfg.DataDir, ".dapr", "logs")
	if err := os.RemoveAll(logs); err != nil {
		return nil, fmt.Errorf("remove old logs: %w", err)
	}
	if err := os.WriteFile(stampPath, []byte(stamp), 0o600); err != nil {
		return nil, fmt.Errorf("start the apps: %w", err)
	}
	began := time.Now()
	if err := cli.Start(); err != nil {
		return nil, err
	}
	err = st.waitHealthy(ctx, func() error {
		if !cli.Alive() {
			return fmt.Errorf("dapr run ended; the last lines of %s:\n%s", cli.Log, cli.Tail())
		}
		return endedUnderCLI(logs)
	})
	if err != nil {
		return nil, err
	}
	cfg.report("apps", fmt.Sprintf("all %d healthy after %s", len(st.apps), time.Since(began).Round(100*time.Millisecond)))
	return st, nil
}

// UpServers starts only the servers, so that the user can run `dapr run -f .` in a terminal.
func UpServers(ctx context.Context, cfg Config) (*Stack, error) {
	st, _, err := upServers(ctx, &cfg)
	return st, err
}

func upServers(ctx context.Context, cfg *Config) (*Stack, tools, error) {
	t, err := ensureTools(ctx, *cfg)
	if err != nil {
		return nil, tools{}, err
	}
	unlock, err := lock(cfg.lockPath())
	if err != nil {
		return nil, tools{}, err
	}
	defer unlock()
	s, f, err := cfg.prepare(ctx, t)
	if err != nil {
		return nil, tools{}, err
	}
	st, err := open(*cfg, s, f)
	if err != nil {
		return nil, tools{}, err
	}
	servers, err := cfg.servers(t, s, f)
	if err != nil {
		return nil, tools{}, err
	}
	return st, t, cfg.startServers(ctx, servers, s)
}

func (c *Config) lockPath() string { return filepath.Join(c.DataDir, "run", "lock") }

// runArgs returns the arguments of the dapr CLI. The CLI reads the checkout's dapr.yaml, or a copy if ports or paths
// differ.
func (c *Config) runArgs(f *runFile) ([]string, error) {
	if c.PortOffset == 0 && c.DataDir == filepath.Join(c.Root, ".local") {
		return []string{"run", "-f", c.Root}, nil
	}
	content, err := yaml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write a shifted dapr.yaml: %w", err)
	}
	path := filepath.Join(c.DataDir, "dapr.yaml")
	if err := replaceFile(path, content, 0o644); err != nil {
		return nil, fmt.Errorf("write a shifted dapr.yaml: %w", err)
	}
	return []string{"run", "-f", path}, nil
}

// appsStamp returns a hash of everything that apps and sidecars are started from.
func (c *Config) appsStamp(f *runFile, s secrets, t tools) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, t.daprd, t.dapr, c.environment(s, f))
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintln(hash, key, s[key])
	}
	files := []string{filepath.Join(c.Root, "dapr.yaml")}
	for _, dir := range append(slices.Clone(f.Common.ResourcesPaths), filepath.Join(c.Root, "deploy/local/config")) {
		found, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return "", fmt.Errorf("compare with the running apps: %w", err)
		}
		files = append(files, found...)
	}
	for _, a := range f.Apps {
		files = append(files, a.Command[0])
	}
	for _, path := range files {
		fmt.Fprintln(hash, path)
		if err := hashFile(hash, path); err != nil {
			return "", fmt.Errorf("compare with the running apps: %w", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func hashFile(hash io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(hash, file)
	return err
}

// healthyWithin reports whether the stack is healthy, or becomes healthy within limit.
func (s *Stack) healthyWithin(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for len(s.pending(ctx)) > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollInterval):
		}
	}
	return true
}

// endedUnderCLI returns an error when an app or a sidecar has ended. The CLI only logs that and keeps the others
// running.
func endedUnderCLI(logs string) error {
	files, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil {
		return fmt.Errorf("read the logs: %w", err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the logs: %w", err)
		}
		if bytes.Contains(content, []byte("process exited with error code")) {
			return fmt.Errorf("a process ended; the last lines of %s:\n%s", path, tailOf(path, 15))
		}
	}
	return nil
}
