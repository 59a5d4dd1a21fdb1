// Package claim ensures that one worker at a time processes a message, and that no worker processes it again
// afterwards. It is for effects that no database transaction can include, such as an e-mail.
//
// A claim is one record in the Dapr state store, under the key processed:<consumer>:<message id>:
//
//	(none) --Take--> WORKING, until the lease expires --Done--> DONE, for a day --> (none)
//	                    |
//	                    +--Release, or the lease expires--> (none)
//
// Take writes with first-write concurrency and without an ETag, which inserts only if the store has no live record. Of
// several concurrent Takes, one succeeds. Done and Release pass the ETag of that write, so a worker whose lease expired
// cannot change the claim of the next worker. The lease of a worker that died expires by the clock of the store. The
// message is then delivered and taken again, so a crash does not lose it.
//
// A worker must stop before its lease expires.
package claim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of Take for a message that must not be processed now.
var (
	ErrDone = problem.New(problem.Conflict, "ALREADY_PROCESSED", "The message was processed before")
	ErrHeld = problem.New(problem.Conflict, "IN_PROGRESS", "The message is being processed")
)

// States is the part of the Dapr client that claims use.
type States interface {
	GetState(ctx context.Context, store, key string, meta map[string]string) (*dapr.StateItem, error)
	SaveStateWithETag(
		ctx context.Context, store, key string, data []byte, etag string, meta map[string]string, so ...dapr.StateOption,
	) error
	DeleteStateWithETag(
		ctx context.Context, store, key string, etag *dapr.ETag, meta map[string]string, opts *dapr.StateOptions,
	) error
}

// Claims takes the claims of one consumer.
type Claims struct {
	States   States
	Store    string        // the state store component
	Consumer string        // the app-id
	Lease    time.Duration // how long a worker may take; whole seconds
	Keep     time.Duration // how long a claim stays DONE; whole seconds
}

// Claim is the right to process one message until the lease expires.
type Claim struct {
	claims Claims
	key    string
	etag   string
	record record
}

// retryInterval is the pause between the attempts of Done.
const retryInterval = 100 * time.Millisecond

// The states of a record.
const (
	working = "WORKING"
	done    = "DONE"
)

type record struct {
	State  string    `json:"state"`
	Holder uuid.UUID `json:"holder"` // identifies the worker's own write if the answer to it was lost
}

// Take claims the message. It returns ErrDone if the message was processed before, and ErrHeld if another worker has an
// unexpired lease on it. After any other error, the message may be held until a lease expires.
func (c Claims) Take(ctx context.Context, messageID string) (Claim, error) {
	claim := Claim{
		claims: c,
		key:    "processed:" + c.Consumer + ":" + messageID,
		record: record{State: working, Holder: uuid.New()},
	}
	// The record that is read back decides, not the answer to the write. A refused insert has the same status as a broken
	// store: Internal, "no item was updated" (components-contrib 1.18.3, state/postgresql/v2). A sidecar that retries may
	// also have its second write refused because of its first.
	saveErr := claim.save(ctx, c.Lease)
	item, err := c.States.GetState(ctx, c.Store, claim.key, nil)
	if err != nil {
		return Claim{}, fmt.Errorf("claim %s: %w", claim.key, errors.Join(saveErr, err))
	}
	if len(item.Value) == 0 {
		return Claim{}, fmt.Errorf("claim %s: no record after the write: %w", claim.key, saveErr)
	}
	var found record
	if err := json.Unmarshal(item.Value, &found); err != nil {
		return Claim{}, fmt.Errorf("claim %s: %w", claim.key, err)
	}
	switch {
	case found.Holder == claim.record.Holder:
		claim.etag = item.Etag
		return claim, nil
	case found.State == done:
		return Claim{}, ErrDone
	default:
		return Claim{}, ErrHeld
	}
}

// Done records that the message is processed. It retries until ctx is done, because a message without the record would
// be processed again, and most outages of the store are short. It returns an error at once if the lease has expired.
func (c Claim) Done(ctx context.Context) error {
	c.record.State = done
	for {
		err := c.save(ctx, c.claims.Keep)
		if err == nil {
			return nil
		}
		// Aborted means that the ETag differs: the lease has expired, or an earlier attempt succeeded and its answer was
		// lost.
		if status.Code(err) != codes.Aborted {
			select {
			case <-ctx.Done():
			case <-time.After(retryInterval):
				continue
			}
		}
		return fmt.Errorf("finish claim %s: %w", c.key, err)
	}
}

// Release ends the claim, so that the message can be taken again at once.
func (c Claim) Release(ctx context.Context) error {
	if err := c.claims.States.DeleteStateWithETag(ctx, c.claims.Store, c.key, &dapr.ETag{Value: c.etag}, nil,
		&dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite}); err != nil {
		return fmt.Errorf("release claim %s: %w", c.key, err)
	}
	return nil
}

// save writes the record with the ETag of the claim. The record expires after ttl.
func (c Claim) save(ctx context.Context, ttl time.Duration) error {
	value, err := json.Marshal(c.record)
	if err != nil {
		return err
	}
	return c.claims.States.SaveStateWithETag(ctx, c.claims.Store, c.key, value, c.etag,
		map[string]string{"ttlInSeconds": strconv.Itoa(int(ttl.Seconds()))},
		dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite), dapr.WithConsistency(dapr.StateConsistencyStrong))
}
