package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
)

// TestReplicasShareThePaceOfCharges lets three replicas charge as fast as they may.
func TestReplicasShareThePaceOfCharges(t *testing.T) {
	b := setup(t)
	const interval, each = 20 * time.Millisecond, 10
	var mu sync.Mutex
	var made []time.Time
	start := time.Now()
	var replicas sync.WaitGroup
	for range 3 {
		pacer := admission.NewPacer(interval, b.store.TakeChargeSlots)
		for range each {
			replicas.Go(func() {
				if pacer.Wait(t.Context()) == nil {
					mu.Lock()
					made = append(made, time.Now())
					mu.Unlock()
				}
			})
		}
	}
	replicas.Wait()
	require.Len(t, made, 3*each)
	require.GreaterOrEqual(t, time.Since(start), (3*each-1)*interval, "the replicas together keep the interval")
}
