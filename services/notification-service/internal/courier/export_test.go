package courier

// TakeWakeup removes the signal that wakes a worker of Run, and reports whether there was one.
func (c *Courier) TakeWakeup() bool {
	select {
	case <-c.wakeups:
		return true
	default:
		return false
	}
}
