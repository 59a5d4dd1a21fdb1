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
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one process of a stack.
type Process struct {
	// Name is the app-id, the app-id with "-sidecar", or the server's name.
	Name string
	// Log is the file that its output is appended to.
	Log string

	path       string
	args       []string
	env        []string // nil for the environment of this process
	dir        string
	record     string // the file with its id and start time; empty for a process that was found by its group
	credential *syscall.Credential
	stopSignal syscall.Signal
	owned      bool // ends with this process

	mu        sync.Mutex
	pid       int
	startTime string        // see startTimeOf
	exited    chan struct{} // closed when the process has ended; nil if another command started it
}

// Child returns a process that does not belong to a stack. It runs in dir, where its log and its record are too. It
// ends with this process at the latest.
func Child(dir, name, program string, args ...string) *Process {
	return (&Config{DataDir: dir, owned: true}).process(name, program, args...)
}

// startTimeOf returns the start time of a process, or "" when there is no such process or it is a zombie. The operating
// system reuses process ids. An id with a start time identifies a process for as long as the machine is up.
func startTimeOf(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		if _, noProc := os.Stat("/proc/self/stat"); noProc == nil {
			return ""
		}
		started, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(started))
	}
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses, which may contain spaces. The third is the state, and the
	// twenty-second the start time.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// group returns the ids of the processes in a process group.
func group(ctx context.Context, leader int) []int {
	var members []int
	if stats, err := filepath.Glob("/proc/[0-9]*/stat"); err == nil && len(stats) > 0 {
		for _, path := range stats {
			stat, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if len(fields) < 3 || fields[0] == "Z" || fields[2] != strconv.Itoa(leader) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				members = append(members, pid)
			}
		}
		return members
	}
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,pgid=").Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == strconv.Itoa(leader) {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				members = append(members, pid)
			}
		}
	}
	return members
}

// adopt reports whether the process is running. If this command did not start it, adopt looks it up by its record.
func (p *Process) adopt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		return p.startTime != "" && startTimeOf(p.pid) == p.startTime
	}
	record, err := os.ReadFile(p.record)
	if err != nil {
		return false
	}
	pid, startTime, found := strings.Cut(strings.TrimSpace(string(record)), " ")
	n, err := strconv.Atoi(pid)
	if !found || startTime == "" || err != nil || startTimeOf(n) != startTime {
		return false
	}
	p.pid, p.startTime = n, startTime
	return true
}

// Alive reports whether the process is running. A paused process is running.
func (p *Process) Alive() bool { return p.adopt() }

// PID returns the process's id, or 0 when it is not running.
func (p *Process) PID() int {
	if !p.adopt() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Start starts the process, unless it is running. It does not wait until the process is healthy.
func (p *Process) Start() error {
	if p.adopt() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, file := range []string{p.Log, p.record} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.Stdout, cmd.Stderr = log, log
	// In its own session, so that Ctrl-C in this terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.credential}
	if p.owned {
		endWithParent(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.pid = cmd.Process.Pid
	p.startTime, p.exited = startTimeOf(p.pid), make(chan struct{})
	go func(exited chan<- struct{}) {
		// Wait reaps the process. How it ended is in its log.
		_ = cmd.Wait()
		close(exited)
	}(p.exited)
	if err := os.WriteFile(p.record, fmt.Appendf(nil, "%d %s\n", p.pid, p.startTime), 0o600); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	return nil
}

// Signal sends the process a signal. It does nothing when the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	pid := p.PID()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Pause freezes the process until Resume.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL and waits until it has ended.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.wait(ctx)
}

// Stop sends the process its stop signal and waits until it has ended. It kills the process after grace.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	if err := p.Signal(p.stopSignal); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.wait(ctx) == nil {
		return nil
	}
	return p.Kill()
}

// Restart stops the process and starts it again.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(ctx, 20*time.Second); err != nil {
		return err
	}
	return p.Start()
}

// wait waits until the process has ended, and removes its record.
func (p *Process) wait(ctx context.Context) error {
	for p.adopt() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not ended: %w", p.Name, ctx.Err())
		case <-p.done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid, p.startTime = 0, ""
	if p.record == "" {
		return nil
	}
	if err := os.Remove(p.record); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the record of %s: %w", p.Name, err)
	}
	return nil
}

// done returns a channel that is closed when the process has ended. It is nil if another command started the process.
func (p *Process) done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// Tail returns the last lines of the process's log, for an error.
func (p *Process) Tail() string { return tailOf(p.Log, 15) }

func tailOf(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
