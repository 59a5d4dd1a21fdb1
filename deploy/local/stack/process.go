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
	// Log is the file that takes its output.
	Log string

	path       string
	args       []string
	env        []string // nil for our own
	dir        string
	record     string // the file that says which process this is; empty for one that was found, not started
	credential *syscall.Credential
	stopSignal syscall.Signal
	owned      bool // ends with us

	mu   sync.Mutex
	pid  int
	born string
	gone chan struct{} // closed when a process that we started has ended
}

// Child gives a process that is no part of a stack: it runs in dir, has its log and its record below it, and ends with us at
// the latest.
func Child(dir, name, program string, args ...string) *Process {
	return (&Config{DataDir: dir, owned: true}).process(name, program, args...)
}

// identity names a process for as long as the machine is up: ids are given out again, ids with a start time are not.
// It is empty when there is no such process, or only its remains.
func identity(pid int) string {
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
	// The second field is the command in parentheses and may hold anything; the state is the third, the start time the
	// twenty-second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// group lists the processes of a process group.
func group(ctx context.Context, leader int) []int {
	var members []int
	if stats, err := filepath.Glob("/proc/[0-9]*/stat"); err == nil && len(stats) > 0 {
		for _, path := range stats {
			stat, err := os.ReadFile(path)
			if err != nil {
				continue // it ended meanwhile
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

// adopt takes over the process that the record names, when that one is still running.
func (p *Process) adopt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		return p.born != "" && identity(p.pid) == p.born
	}
	record, err := os.ReadFile(p.record)
	if err != nil {
		return false
	}
	pid, born, found := strings.Cut(strings.TrimSpace(string(record)), " ")
	n, err := strconv.Atoi(pid)
	if !found || born == "" || err != nil || identity(n) != born {
		return false
	}
	p.pid, p.born = n, born
	return true
}

// Alive reports whether the process is running, paused or not.
func (p *Process) Alive() bool { return p.adopt() }

// PID is the process's id while it is alive, and 0 otherwise.
func (p *Process) PID() int {
	if !p.adopt() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Start runs the process, unless it is alive. It does not wait until it is healthy.
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
	// A group of its own, so that Ctrl-C at our terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.credential}
	if p.owned {
		endWithParent(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.pid, p.born, p.gone = cmd.Process.Pid, identity(cmd.Process.Pid), make(chan struct{})
	go func(gone chan<- struct{}) {
		// How it ended is in its log; what counts here is that it is reaped.
		_ = cmd.Wait()
		close(gone)
	}(p.gone)
	if err := os.WriteFile(p.record, fmt.Appendf(nil, "%d %s\n", p.pid, p.born), 0o600); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	return nil
}

// Signal sends the process a signal; it is no error when it is gone.
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

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.wait(ctx)
}

// Stop asks the process to end, waits until it has, and kills it when it takes longer than grace.
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

// wait returns when the process is gone, and removes its record.
func (p *Process) wait(ctx context.Context) error {
	for p.adopt() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not end: %w", p.Name, ctx.Err())
		case <-p.ended():
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid, p.born = 0, ""
	if p.record == "" {
		return nil
	}
	if err := os.Remove(p.record); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget %s: %w", p.Name, err)
	}
	return nil
}

// ended is closed when a process of ours has ended, and never for one that an earlier command started.
func (p *Process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// Tail is the end of the process's log, for an error.
func (p *Process) Tail() string { return tailOf(p.Log, 15) }

func tailOf(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
