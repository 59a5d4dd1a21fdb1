//go:build !linux

package dial

import "time"

// limitUnacknowledged does nothing: only Linux has the option.
func limitUnacknowledged(uintptr, time.Duration) error { return nil }
