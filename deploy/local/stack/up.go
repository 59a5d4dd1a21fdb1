package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

// Up brings up everything that is not up yet, waits until all of it is healthy, and leaves it running. What is up and made
// from what the checkout contains now stays as it is.
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
			cfg.say("apps", "up already")
			return st, nil
		}
		cfg.say("apps", "not what they should be: starting them again")
	}
	// Without its CLI, an app or a sidecar of an earlier run may still be there.
	if err := cfg.stopApps(ctx, cli); err != nil {
		return nil, err
	}
	if err := checkPorts(appClaims(f)); err != nil {
		return nil, err
	}
	if cli.args, err = cfg.runArgs(f); err != nil {
		return nil, err
	}
	// The CLI names its logs by the time, and only those of this run should be found.
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
			return fmt.Errorf("dapr run ended; the end of %s:\n%s", cli.Log, cli.Tail())
		}
		return endedUnderCLI(logs)
	})
	if err != nil {
		return nil, err
	}
	cfg.say("apps", fmt.Sprintf("all %d healthy after %s", len(st.apps), time.Since(began).Round(100*time.Millisecond)))
	return st, nil
}

// UpServers brings up only the servers, for somebody who runs `dapr run -f .` by hand.
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

// runArgs are the dapr CLI's. The checkout's own dapr.yaml serves unless ports or paths are other than it says.
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

// appsStamp changes with whatever the running apps and sidecars were made from.
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
			return "", fmt.Errorf("compare with what runs: %w", err)
		}
		files = append(files, found...)
	}
	for _, a := range f.Apps {
		files = append(files, a.Command[0])
	}
	for _, path := range files {
		fmt.Fprintln(hash, path)
		if err := hashFile(hash, path); err != nil {
			return "", fmt.Errorf("compare with what runs: %w", err)
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

func (s *Stack) healthyWithin(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for len(s.waiting(ctx)) > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollInterval):
		}
	}
	return true
}

// endedUnderCLI finds an app or a sidecar that ended: the CLI notes it in the log and goes on with the others.
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
			return fmt.Errorf("a process ended; the end of %s:\n%s", path, tailOf(path, 15))
		}
	}
	return nil
}

// stopApps ends what runs under the dapr CLI and then the CLI, which by itself would kill all of it in the middle of its
// work. It finds them by their process group, which outlives a CLI that was killed.
func (c *Config) stopApps(ctx context.Context, cli *Process) error {
	leader := cli.PID()
	if leader == 0 {
		record, err := os.ReadFile(cli.record)
		if err != nil {
			return nil //nolint:nilerr // it never ran, or was stopped in order
		}
		first, _, _ := bytes.Cut(record, []byte(" "))
		if leader, err = strconv.Atoi(string(first)); err != nil {
			return nil //nolint:nilerr // no record of ours
		}
	}
	var apps, sidecars, others []*Process
	for _, pid := range group(ctx, leader) {
		program := program(ctx, pid)
		p := &Process{Name: program, stopSignal: syscall.SIGTERM, pid: pid, born: identity(pid)}
		switch {
		case pid == leader:
		case program == "daprd":
			sidecars = append(sidecars, p)
		case c.isApp(program):
			apps = append(apps, p)
		default:
			others = append(others, p)
		}
	}
	if cli.PID() == 0 {
		others = nil // a group whose leader is gone may be somebody else's by now; the programs above are ours
	}
	err := errors.Join(stopAll(ctx, apps, appGrace), stopAll(ctx, sidecars, sidecarGrace), stopAll(ctx, others, sidecarGrace))
	return errors.Join(err, cli.Stop(ctx, sidecarGrace))
}

func (c *Config) isApp(program string) bool {
	_, err := os.Stat(filepath.Join(c.Root, "services", program, "main.go"))
	return err == nil
}

// program is the name of what a process runs.
func program(ctx context.Context, pid int) string {
	if line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil {
		first, _, _ := bytes.Cut(line, []byte{0})
		return filepath.Base(string(first))
	}
	line, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	return filepath.Base(string(first))
}

// Down stops everything that Up left running, apps before the servers they use. The data stays.
func Down(ctx context.Context, cfg Config) error {
	unlock, err := lock(cfg.lockPath())
	if err != nil {
		return err
	}
	defer unlock()
	if err := cfg.stopApps(ctx, cfg.process("dapr", "")); err != nil {
		return err
	}
	cfg.say("apps", "stopped")
	if err := cfg.stopRecorded(ctx); err != nil {
		return err
	}
	cfg.say("servers", "stopped; their data is in "+cfg.DataDir)
	return nil
}

// stopRecorded stops every process that has a record in the data directory.
func (c *Config) stopRecorded(ctx context.Context) error {
	records, err := filepath.Glob(filepath.Join(c.DataDir, "run", "*.pid"))
	if err != nil {
		return fmt.Errorf("find what runs: %w", err)
	}
	var processes []*Process
	for _, r := range records {
		name := filepath.Base(r[:len(r)-len(".pid")])
		p := c.process(name, "")
		if name == "postgres" {
			p.stopSignal = syscall.SIGINT
		}
		processes = append(processes, p)
	}
	return stopAll(ctx, processes, serverGrace)
}
