package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// hashing is the second recommendation for argon2id of OWASP's Password Storage Cheat Sheet: 19 MiB, two passes, one
// lane. Each hash stores its own parameters, so these may change at any time.
var hashing = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// maxHashWait is how long a request waits for a slot before it is rejected.
const maxHashWait = 5 * time.Second

// ErrBusy rejects a request when this process receives more logins than it can hash.
var ErrBusy = &problem.Error{
	Kind: problem.Unavailable, Code: "SERVER_BUSY", Message: "Too many logins at the moment, try again shortly",
	RetryAfter: 2 * time.Second,
}

// Passwords hashes passwords with argon2id. It hashes at most as many at a time as there are processors: more would not
// be faster, and each hash takes 19 MiB, which a burst of logins must not multiply. It is safe for concurrent use.
type Passwords struct {
	slots chan struct{}
	decoy string // the hash that stands in for a missing account's
}

// NewPasswords returns a Passwords with a random decoy.
func NewPasswords() (*Passwords, error) {
	decoy, err := argon2id.CreateHash(rand.Text(), hashing)
	if err != nil {
		return nil, fmt.Errorf("hash a decoy password: %w", err)
	}
	return &Passwords{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), decoy: decoy}, nil
}

// Hash returns the password's hash in PHC string format. It returns ErrBusy, or the error of ctx if ctx ends first.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := p.acquire(ctx); err != nil {
		return "", err
	}
	defer p.release()
	hash, err := argon2id.CreateHash(password, hashing)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}

// Matches reports whether hash is the hash of the password. An empty hash, for an account that does not exist, matches
// nothing and takes as long as any other, so that the response time does not reveal which accounts exist. Its errors
// are those of Hash.
func (p *Passwords) Matches(ctx context.Context, password, hash string) (bool, error) {
	if err := p.acquire(ctx); err != nil {
		return false, err
	}
	defer p.release()
	exists := hash != ""
	if !exists {
		hash = p.decoy
	}
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("compare a password with its hash: %w", err)
	}
	return match && exists, nil
}

// acquire waits for a slot.
func (p *Passwords) acquire(ctx context.Context) error {
	// select chooses at random between a free slot and a ctx that has ended.
	if err := ctx.Err(); err != nil {
		return err
	}
	timeout := time.NewTimer(maxHashWait)
	defer timeout.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timeout.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release frees the slot, and returns the memory of the hash to the operating system. Otherwise Go would keep it for
// minutes, and it is twice what the rest of the service needs.
func (p *Passwords) release() {
	debug.FreeOSMemory()
	<-p.slots
}
