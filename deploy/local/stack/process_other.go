//go:build !linux

package stack

import "syscall"

// endWithParent does nothing: only Linux can do this. `stack test` stops the processes of a test that crashed.
func endWithParent(*syscall.SysProcAttr) {}
