package store

import (
	"context"
	"fmt"
	"time"
)

// TakeChargeSlots reserves n slots for charges, an interval apart, and returns the time until the first. All replicas
// share the slots, because the card processor limits the rate of an account.
func (s *Store) TakeChargeSlots(ctx context.Context, n int, interval time.Duration) (time.Duration, error) {
	var wait time.Duration
	err := s.pool.QueryRow(ctx, `
		INSERT INTO charge_pace AS pace (account, next_at) VALUES ('stripe', clock_timestamp() + $1::interval)
		ON CONFLICT (account) DO UPDATE SET next_at = greatest(pace.next_at, clock_timestamp()) + $1::interval
		RETURNING greatest(next_at - $1::interval - clock_timestamp(), interval '0')`,
		time.Duration(n)*interval).Scan(&wait)
	if err != nil {
		return 0, fmt.Errorf("take slots for charges: %w", err)
	}
	return wait, nil
}
