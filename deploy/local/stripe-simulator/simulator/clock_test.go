package simulator

import "time"

// SetClock replaces the clock, so that a test need not wait for a later change.
func (s *Server) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}
