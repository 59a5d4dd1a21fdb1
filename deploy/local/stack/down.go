package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Down stops everything that Up has started, the apps before the servers. It keeps the data.
func Down(ctx context.Context, cfg Config) error {
	unlock, err := lock(cfg.lockPath())
	if err != nil {
		return err
	}
	defer unlock()
	if err := cfg.stopApps(ctx, cfg.process("dapr", "")); err != nil {
		return err
	}
	cfg.report("apps", "stopped")
	if err := cfg.stopRecorded(ctx); err != nil {
		return err
	}
	cfg.report("servers", "stopped; their data is in "+cfg.DataDir)
	return nil
}

// stopRecorded stops every process that has a record in the data directory.
func (c *Config) stopRecorded(ctx context.Context) error {
	records, err := filepath.Glob(filepath.Join(c.DataDir, "run", "*.pid"))
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
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

// Clean stops the stack and removes everything that the stack and the tools have written.
func Clean(ctx context.Context, cfg Config) error {
	if err := Down(ctx, cfg); err != nil {
		return err
	}
	remove := []string{cfg.ToolsDir, cfg.fallbackDir()}
	// DATA_DIR may hold other files too.
	for _, name := range []string{
		".dapr", "dapr.yaml", "env", "fauxqs", "logs", "mail",
		"nameresolution.db", "nameresolution.db-shm", "nameresolution.db-wal",
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

// stopApps stops the apps, then the sidecars, and then the dapr CLI. The CLI alone would kill all of them without a
// grace period. They are found by their process group, which outlives a CLI that was killed.
func (c *Config) stopApps(ctx context.Context, cli *Process) error {
	leader := cli.PID()
	if leader == 0 {
		record, err := os.ReadFile(cli.record)
		if err != nil {
			return nil //nolint:nilerr // without a record the CLI is not running
		}
		first, _, _ := bytes.Cut(record, []byte(" "))
		if leader, err = strconv.Atoi(string(first)); err != nil {
			return nil //nolint:nilerr // not a record of this package
		}
	}
	var apps, sidecars, others []*Process
	for _, pid := range group(ctx, leader) {
		program := programOf(ctx, pid)
		p := &Process{Name: program, stopSignal: syscall.SIGTERM, pid: pid, startTime: startTimeOf(pid)}
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
		// The id of a leader that has ended may be reused by an unrelated group. Apps and sidecars are recognized by their
		// programs; anything else is left alone.
		others = nil
	}
	return errors.Join(
		stopAll(ctx, apps, AppGrace), stopAll(ctx, sidecars, sidecarGrace), stopAll(ctx, others, sidecarGrace),
		cli.Stop(ctx, sidecarGrace))
}

func (c *Config) isApp(program string) bool {
	_, err := os.Stat(filepath.Join(c.Root, "services", program, "main.go"))
	return err == nil
}

// programOf returns the name of the program that a process runs.
func programOf(ctx context.Context, pid int) string {
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
