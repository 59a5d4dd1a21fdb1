package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// machine is where a node's processes run: namespaces for processes, mounts, network and host name, whose first process it
// starts. That one's end, or machine's, is the end of them all, and with the last of them the kernel takes away their mounts,
// interfaces and packet filters. It writes the id of that process to the file in its first argument once one can enter.
//
// With a second argument it is that first process.
func machine() error {
	if len(os.Args) > 2 {
		return firstProcess(os.Args[1])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	first := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1], "first")
	first.Args[0] = os.Args[0]
	first.Stdout, first.Stderr = os.Stdout, os.Stderr
	first.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	// It returns when the last process of the namespace is gone.
	if err := first.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run the first process: %w", err)
	}
	return nil
}

func firstProcess(record string) error {
	// This is still the /proc of those outside, who are to find us by it.
	id, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("find our own id: %w", err)
	}
	if err := syscall.Sethostname([]byte("node")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// What programs write to places that nobody can choose goes with the namespace.
	for _, dir := range []string{"/run", "/var/lib", "/var/log"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := keepSettings(); err != nil {
		return err
	}
	if err := os.WriteFile(record+".new", []byte(id), 0o600); err != nil {
		return fmt.Errorf("say who we are: %w", err)
	}
	if err := os.Rename(record+".new", record); err != nil {
		return fmt.Errorf("say who we are: %w", err)
	}
	return reap()
}

// keepSettings puts files over those settings of the kernel that a kubelet insists on and no namespace has for itself.
func keepSettings() error {
	for _, name := range []string{
		"vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes",
	} {
		setting := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		value, err := os.ReadFile(setting)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		instead := filepath.Join("/run", name)
		if err := os.WriteFile(instead, value, 0o644); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
		if err := syscall.Mount(instead, setting, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
	}
	return nil
}

// reap buries the processes whose parents did not, for as long as the machine runs.
func reap() error {
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	for range orphans {
		for {
			if id, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || id == 0 {
				break // there are no more, or none that has ended
			}
		}
	}
	return nil
}
