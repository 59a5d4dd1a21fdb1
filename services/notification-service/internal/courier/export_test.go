package courier

import "github.com/eventbooking/eventbooking/services/notification-service/internal/notification"

// TakeWakeup removes the signals that wake a worker of the class and a shared worker of Run, and reports whether there
// were both.
func (c *Courier) TakeWakeup(class notification.Class) bool {
	taken := 0
	for _, wakeup := range []chan struct{}{c.classWakeups[class], c.sharedWakeup} {
		select {
		case <-wakeup:
			taken++
		default:
		}
	}
	return taken == 2
}
