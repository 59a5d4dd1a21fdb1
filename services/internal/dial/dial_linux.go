package dial

import (
	"os"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of RFC 5482 in linux/tcp.h, which package syscall lacks.
const tcpUserTimeout = 18

// limitUnacknowledged makes the kernel close a connection whose data has not been acknowledged for the timeout.
func limitUnacknowledged(fd uintptr, timeout time.Duration) error {
	err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds()))
	return os.NewSyscallError("setsockopt", err)
}
