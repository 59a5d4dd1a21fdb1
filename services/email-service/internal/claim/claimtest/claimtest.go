// Package claimtest provides an in-memory state store for tests with claims. It answers as daprd does with
// state.postgresql v2. The tests of package claim run against both.
package claimtest

import (
	"context"
	"strconv"
	"sync"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors of daprd's state API.
var (
	ErrNotInserted = status.Error(codes.Internal, "failed saving state in state store statestore: no item was updated")
	ErrETag        = status.Error(codes.Aborted, "possible etag mismatch")
	ErrDown        = status.Error(codes.Unavailable, "connection refused")
)

type item struct {
	value   []byte
	etag    string
	expires time.Time
}

// States is a state store. The zero value is empty and ready to use.
type States struct {
	mu      sync.Mutex
	fault   Fault
	advance time.Duration
	items   map[string]item
}

// Fault is a fault of the store.
type Fault int

// The faults.
const (
	None        Fault = iota
	Down              // every call fails
	LoseAnswers       // writes succeed and return an error, as if the sidecar timed out
	RefuseSaves       // saves fail with the status of a conflict
)

// Advance advances the clock of the store.
func (s *States) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance += d
}

// Break sets the fault of the store.
func (s *States) Break(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *States) now() time.Time { return time.Now().Add(s.advance) }

// failure returns the error of any call.
func (s *States) failure(ctx context.Context) error {
	if s.fault == Down {
		return ErrDown
	}
	return ctx.Err()
}

// live returns the item at key if there is one that has not expired.
func (s *States) live(key string) (item, bool) {
	i, ok := s.items[key]
	return i, ok && s.now().Before(i.expires)
}

// GetState returns an item. The item has no value if the store has none at key.
func (s *States) GetState(ctx context.Context, _, key string, _ map[string]string) (*dapr.StateItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure(ctx); err != nil {
		return nil, err
	}
	i, ok := s.live(key)
	if !ok {
		return &dapr.StateItem{Key: key}, nil
	}
	return &dapr.StateItem{Key: key, Value: i.value, Etag: i.etag}, nil
}

// SaveStateWithETag updates the item with this ETag, or inserts one if etag is empty and the store has none.
func (s *States) SaveStateWithETag(
	ctx context.Context, _, key string, data []byte, etag string, meta map[string]string, _ ...dapr.StateOption,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure(ctx); err != nil {
		return err
	}
	switch old, ok := s.live(key); {
	case s.fault == RefuseSaves || etag == "" && ok:
		return ErrNotInserted
	case etag != "" && (!ok || old.etag != etag):
		return ErrETag
	}
	ttl, err := strconv.Atoi(meta["ttlInSeconds"])
	if err != nil {
		return status.Error(codes.Internal, "error parsing TTL")
	}
	if s.items == nil {
		s.items = map[string]item{}
	}
	s.items[key] = item{
		value: data, etag: uuid.NewString(), expires: s.now().Add(time.Duration(ttl) * time.Second),
	}
	if s.fault == LoseAnswers {
		return ErrDown
	}
	return nil
}

// DeleteStateWithETag removes the item with this ETag.
func (s *States) DeleteStateWithETag(
	ctx context.Context, _, key string, etag *dapr.ETag, _ map[string]string, _ *dapr.StateOptions,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure(ctx); err != nil {
		return err
	}
	if s.items[key].etag != etag.Value {
		return ErrETag
	}
	delete(s.items, key)
	return nil
}
