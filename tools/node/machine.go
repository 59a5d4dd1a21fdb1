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

// machine creates the namespaces in which the processes of a node run (processes, mounts, network, host name and IPC)
// and starts their first process. When the first process or machine ends, the kernel ends all processes in the
// namespaces, and removes their mounts, interfaces and packet filters. When the namespaces are ready to be entered,
// the first process writes its id to the file that the first argument names.
//
// With a second argument machine runs as that first process.
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
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig: syscall.SIGKILL,
	}
	// Run returns when the last process of the namespace has ended.
	if err := first.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run the first process: %w", err)
	}
	return nil
}

// firstProcess prepares the namespaces, writes its id to the file record, and reaps processes until it is killed.
func firstProcess(record string) error {
	// /proc still belongs to the parent namespace, so this is the id by which processes there know this one.
	id, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("read the process id: %w", err)
	}
	if err := syscall.Sethostname([]byte("node")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Programs write to fixed paths in these directories. The files disappear with the namespace.
	for _, dir := range []string{"/run", "/var/lib", "/var/log"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := keepSettings(); err != nil {
		return err
	}
	if err := os.WriteFile(record+".new", []byte(id), 0o600); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	if err := os.Rename(record+".new", record); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	return reap()
}

// keepSettings mounts files over some kernel settings, with their current values. The kubelet writes these settings,
// and they exist only once for the whole machine.
func keepSettings() error {
	for _, name := range []string{
		"vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
		"kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes",
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

// reap reaps orphaned processes for as long as the machine runs.
func reap() error {
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	for range orphans {
		for {
			if id, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || id == 0 {
				break // no process has ended since
			}
		}
	}
	return nil
}
