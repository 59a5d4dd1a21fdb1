package stack

import "syscall"

// endWithParent makes the kernel kill the process when this one dies, so that a test that crashes leaves no processes.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
