// Package claim ensures that one worker at a time processes a message, and that no worker processes it again
// afterwards. It is for effects that no database transaction can include, such as an e-mail.
//
// A claim is one record in the Dapr state store, under the key processed:<consumer>:<message id>:
//
//	(none) --Take--> WORKING, until the lease expires --Done or Refuse--> DONE or REFUSED, for a day --> (none)
//	                  |  ^ |
//	                  |  | +--Unconfirmed, with the number of such attempts--> OPEN --Take--> WORKING
//	                  |  +--Renew
//	                  +--Release, or the lease expires--> (none)
//
// Take writes with first-write concurrency and without an ETag, which inserts only if the store has no live record. Of
// several concurrent Takes, one succeeds. The other methods pass the ETag of the last write, so a worker whose lease
// expired cannot change the claim of the next worker. The lease of a worker that died expires by the clock of the
// store. The message is then delivered and taken again, so a crash does not lose it.
//
// A worker renews its lease as long as it works. If it loses the lease, it must stop unless the effect may have
// happened already. It records that effect also after its lease expired, if no other worker has taken the message.
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

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of Take for a message that must not be processed now. [RefusedError] is another one.
var (
	ErrDone = problem.New(problem.Conflict, "ALREADY_PROCESSED", "The message was processed before")
	ErrHeld = problem.New(problem.Conflict, "IN_PROGRESS", "The message is being processed")
)

// ErrLost is the error of Renew if the lease has expired.
var ErrLost = problem.New(problem.Conflict, "LEASE_LOST", "The lease on the message has expired")

// RefusedError is the error of Take for a message that was refused for good.
type RefusedError struct{ Code string } // as passed to Refuse

// Error returns the code, for logs.
func (e *RefusedError) Error() string { return "the message was refused before: " + e.Code }

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
	Lease    time.Duration // how long a worker may take without renewing the lease; whole seconds
	Keep     time.Duration // how long a claim stays DONE, REFUSED or OPEN; whole seconds
}

// Claim is the right to process one message until the lease expires. Its methods must not be called concurrently.
type Claim struct {
	claims Claims
	key    string
	etag   string
	record record
}

// retryInterval is the pause between the attempts of Done, Refuse and Unconfirmed.
const retryInterval = 100 * time.Millisecond

// The states of a record.
const (
	none    = "" // the store has no record
	working = "WORKING"
	open    = "OPEN"
	done    = "DONE"
	refused = "REFUSED"
)

type record struct {
	State  string    `json:"state"`
	Holder uuid.UUID `json:"holder"`         // identifies the worker's own write if the answer to it was lost
	Code   string    `json:"code,omitempty"` // why the message is REFUSED
	// Unconfirmed is the number of attempts after which it was unknown whether they had their effect. An attempt whose
	// process died is not counted.
	Unconfirmed int `json:"unconfirmed,omitempty"`
}

// Take claims the message. It returns ErrDone if the message was processed before, a *RefusedError if it was refused,
// and ErrHeld if another worker has an unexpired lease on it. After any other error, the message may be held until a
// lease expires.
func (c Claims) Take(ctx context.Context, messageID string) (*Claim, error) {
	claim := &Claim{
		claims: c,
		key:    "processed:" + c.Consumer + ":" + messageID,
		record: record{State: working, Holder: uuid.New()},
	}
	found, etag, saveErr, err := claim.write(ctx)
	if err == nil && found.State == open {
		claim.etag, claim.record.Unconfirmed = etag, found.Unconfirmed
		found, etag, saveErr, err = claim.write(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", claim.key, errors.Join(saveErr, err))
	}
	switch {
	case found.State == none:
		return nil, fmt.Errorf("claim %s: no record after the write: %w", claim.key, saveErr)
	case found.Holder == claim.record.Holder:
		claim.etag = etag
		return claim, nil
	case found.State == done:
		return nil, ErrDone
	case found.State == refused:
		return nil, &RefusedError{Code: found.Code}
	default:
		return nil, ErrHeld
	}
}

// Attempts returns the number of earlier attempts that ended with Unconfirmed.
func (c *Claim) Attempts() int { return c.record.Unconfirmed }

// Renew extends the lease. It returns ErrLost if the lease has expired. After another error, the lease may or may not
// be extended.
func (c *Claim) Renew(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		found, etag, saveErr, err := c.write(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("renew claim %s: %w", c.key, errors.Join(saveErr, err))
		case found.Holder != c.record.Holder:
			return ErrLost
		}
		c.etag = etag
		if saveErr == nil {
			return nil
		}
		// The ETag was that of a write before an earlier renewal whose answer was lost.
		if attempt == 2 {
			return fmt.Errorf("renew claim %s: %w", c.key, saveErr)
		}
	}
}

// Done records that the message is processed. It retries until ctx is done, because a message without the record would
// be processed again, and most outages of the store are short. It records it also after the lease has expired, and
// returns an error at once if another worker has taken the message since then.
func (c *Claim) Done(ctx context.Context) error { return c.settle(ctx, record{State: done}) }

// Refuse records that the message must not be processed, now or later. It retries as Done does.
func (c *Claim) Refuse(ctx context.Context, code string) error {
	return c.settle(ctx, record{State: refused, Code: code})
}

// Unconfirmed ends the claim and counts an attempt after which it is unknown whether it had its effect. The message can
// be taken again at once. Unconfirmed retries as Done does.
func (c *Claim) Unconfirmed(ctx context.Context) error {
	return c.settle(ctx, record{State: open, Unconfirmed: c.record.Unconfirmed + 1})
}

// Release ends the claim of an attempt that had no effect, so that the message can be taken again at once.
func (c *Claim) Release(ctx context.Context) error {
	if c.record.Unconfirmed > 0 {
		return c.settle(ctx, record{State: open, Unconfirmed: c.record.Unconfirmed})
	}
	if err := c.claims.States.DeleteStateWithETag(ctx, c.claims.Store, c.key, &dapr.ETag{Value: c.etag}, nil,
		&dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite}); err != nil {
		return fmt.Errorf("release claim %s: %w", c.key, err)
	}
	return nil
}

// settle replaces the record with r, which is kept for a day.
func (c *Claim) settle(ctx context.Context, r record) error {
	r.Holder = c.record.Holder
	c.record = r
	for {
		err := c.save(ctx, c.claims.Keep)
		if err == nil {
			return nil
		}
		// The record decides, not the answer to the write: an earlier attempt may have succeeded with its answer lost, and
		// the ETag may be that of a write before a renewal with a lost answer.
		switch found, etag, readErr := c.read(ctx); {
		case readErr != nil: // the store is unavailable
		case found.State == none: // the lease has expired, and no other worker has taken the message
			c.etag = ""
		case found.Holder != r.Holder:
			return fmt.Errorf("finish claim %s: %w", c.key, err)
		case found.State == r.State:
			return nil
		default:
			c.etag = etag
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("finish claim %s: %w", c.key, err)
		case <-time.After(retryInterval):
		}
	}
}

// write saves the record with the lease and returns the record that the store has then, whose holder may be another
// worker. saveErr is the error of the save, and err that of the read.
//
// The record that is read back decides, not the answer to the save. A refused insert has the same status as a broken
// store: Internal, "no item was updated" (components-contrib 1.18.3, state/postgresql/v2). A sidecar that retries may
// also have its second write refused because of its first.
func (c *Claim) write(ctx context.Context) (found record, etag string, saveErr, err error) {
	saveErr = c.save(ctx, c.claims.Lease)
	found, etag, err = c.read(ctx)
	return found, etag, saveErr, err
}

// read returns the record of the store and its ETag. The record has no state if the store has none.
func (c *Claim) read(ctx context.Context) (found record, etag string, err error) {
	item, err := c.claims.States.GetState(ctx, c.claims.Store, c.key, nil)
	if err != nil || len(item.Value) == 0 {
		return record{}, "", err
	}
	if err := json.Unmarshal(item.Value, &found); err != nil {
		return record{}, "", err
	}
	return found, item.Etag, nil
}

// save writes the record with the ETag of the claim. The record expires after ttl.
func (c *Claim) save(ctx context.Context, ttl time.Duration) error {
	value, err := json.Marshal(c.record)
	if err != nil {
		return err
	}
	return c.claims.States.SaveStateWithETag(ctx, c.claims.Store, c.key, value, c.etag,
		map[string]string{"ttlInSeconds": strconv.Itoa(int(ttl.Seconds()))},
		dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite), dapr.WithConsistency(dapr.StateConsistencyStrong))
}
