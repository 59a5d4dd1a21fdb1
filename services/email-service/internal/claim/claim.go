// Package claim lets one worker at a time act on a message, and nobody once that is done: for effects
// that no transaction of ours can include, such as an e-mail.
//
// A claim is one record in the Dapr state store, under processed:<consumer>:<message id>:
//
//	(none) --Take--> WORKING, for a lease --Done--> DONE, for a day --> (none)
//	                    |
//	                    +--Release, or the lease ends--> (none)
//
// Take writes first-write without an ETag, which inserts only where nothing lives, so of several
// takers one wins. Done and Release show the ETag of that write, so a worker that lost its lease
// cannot touch its successor's claim. A worker that dies leaves a lease that ends by itself, by the
// clock of the store: the message comes again and is taken again, which is why a claim does not
// swallow what a crash interrupted.
//
// A worker must stop acting before its lease ends.
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

// What Take returns when there is nothing to do, or not now.
var (
	ErrDone = problem.New(problem.Conflict, "ALREADY_PROCESSED", "The message was processed before")
	ErrHeld = problem.New(problem.Conflict, "IN_PROGRESS", "The message is being processed")
)

// States is what claims need of the Dapr client.
type States interface {
	GetState(ctx context.Context, store, key string, meta map[string]string) (*dapr.StateItem, error)
	SaveStateWithETag(ctx context.Context, store, key string, data []byte, etag string, meta map[string]string, so ...dapr.StateOption) error
	DeleteStateWithETag(ctx context.Context, store, key string, etag *dapr.ETag, meta map[string]string, opts *dapr.StateOptions) error
}

// Claims are the claims of one consumer.
type Claims struct {
	States   States
	Store    string        // the state store component
	Consumer string        // the app-id
	Lease    time.Duration // how long a worker has; whole seconds
	Keep     time.Duration // how long a message is known to be done; whole seconds
}

// Claim is a message that is ours to act on until its lease ends.
type Claim struct {
	claims Claims
	key    string
	etag   string
	record record
}

const insistEvery = 100 * time.Millisecond

const (
	working = "WORKING"
	done    = "DONE"
)

type record struct {
	State  string    `json:"state"`
	Holder uuid.UUID `json:"holder"` // tells our own write from another's when its answer was lost
}

// Take claims the message. It returns ErrDone if the message was processed, and ErrHeld if another
// worker's lease on it is running. After any other error the message may be held until a lease ends.
func (c Claims) Take(ctx context.Context, messageID string) (Claim, error) {
	claim := Claim{
		claims: c,
		key:    "processed:" + c.Consumer + ":" + messageID,
		record: record{State: working, Holder: uuid.New()},
	}
	// A refused insert has the same status as a broken store: Internal, "no item was updated"
	// (components-contrib 1.18.3, state/postgresql/v2). And a sidecar that retries may refuse what it
	// has itself written before. So what counts is not the answer but what is there now.
	saveErr := claim.save(ctx, c.Lease)
	item, err := c.States.GetState(ctx, c.Store, claim.key, nil)
	if err != nil {
		return Claim{}, fmt.Errorf("claim %s: %w", claim.key, errors.Join(saveErr, err))
	}
	if len(item.Value) == 0 {
		return Claim{}, fmt.Errorf("claim %s: not there after it was written: %w", claim.key, saveErr)
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

// Done says that the message is processed. As long as ctx lasts it insists: a store that died is back in a
// moment, and what is done is not to be done again. It fails at once if the lease has ended.
func (c Claim) Done(ctx context.Context) error {
	c.record.State = done
	for {
		err := c.save(ctx, c.claims.Keep)
		if err == nil {
			return nil
		}
		// Aborted is another ETag: the lease has ended, or an earlier try of ours happened and its answer was lost.
		if status.Code(err) != codes.Aborted {
			select {
			case <-ctx.Done():
			case <-time.After(insistEvery):
				continue
			}
		}
		return fmt.Errorf("finish claim %s: %w", c.key, err)
	}
}

// Release gives the message back, so that its next delivery can take it at once.
func (c Claim) Release(ctx context.Context) error {
	if err := c.claims.States.DeleteStateWithETag(ctx, c.claims.Store, c.key, &dapr.ETag{Value: c.etag}, nil,
		&dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite}); err != nil {
		return fmt.Errorf("release claim %s: %w", c.key, err)
	}
	return nil
}

func (c Claim) save(ctx context.Context, ttl time.Duration) error {
	value, err := json.Marshal(c.record)
	if err != nil {
		return err
	}
	return c.claims.States.SaveStateWithETag(ctx, c.claims.Store, c.key, value, c.etag,
		map[string]string{"ttlInSeconds": strconv.Itoa(int(ttl.Seconds()))},
		dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite), dapr.WithConsistency(dapr.StateConsistencyStrong))
}
