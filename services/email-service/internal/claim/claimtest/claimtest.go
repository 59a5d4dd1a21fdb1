// Package claimtest has a state store in memory for tests of what is done under a claim. It answers
// as daprd does with state.postgresql v2; the tests of package claim hold the two against each other.
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

// States is the store. Its zero value is empty and works.
type States struct {
	mu     sync.Mutex
	fault  Fault
	passed time.Duration
	items  map[string]item
}

// Fault is what is wrong with a store.
type Fault int

// The faults.
const (
	None        Fault = iota
	Down              // every call fails
	LoseAnswers       // writes happen and then fail, as when the sidecar's timeout cuts their answer off
	RefuseSaves       // saves fail with the status that a conflict has
)

// Pass lets time pass in the store.
func (s *States) Pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed += d
}

// Break makes the fault begin, and any other end.
func (s *States) Break(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *States) now() time.Time { return time.Now().Add(s.passed) }

func (s *States) failure(ctx context.Context) error {
	if s.fault == Down {
		return ErrDown
	}
	return ctx.Err()
}

// live gives the item at key, unless it has expired.
func (s *States) live(key string) (item, bool) {
	i, ok := s.items[key]
	return i, ok && s.now().Before(i.expires)
}

// GetState reads an item; one that is not there has no value.
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

// SaveStateWithETag writes an item, if there is none or if it has the ETag.
func (s *States) SaveStateWithETag(ctx context.Context, _, key string, data []byte, etag string, meta map[string]string, _ ...dapr.StateOption) error {
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
	s.items[key] = item{value: data, etag: uuid.NewString(), expires: s.now().Add(time.Duration(ttl) * time.Second)}
	if s.fault == LoseAnswers {
		return ErrDown
	}
	return nil
}

// DeleteStateWithETag removes an item, if it has the ETag.
func (s *States) DeleteStateWithETag(ctx context.Context, _, key string, etag *dapr.ETag, _ map[string]string, _ *dapr.StateOptions) error {
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
