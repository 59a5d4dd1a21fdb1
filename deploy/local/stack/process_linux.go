package stack

import "syscall"

// endWithParent has the kernel kill the process when we die without stopping it, so that a crashed test leaves nothing.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
