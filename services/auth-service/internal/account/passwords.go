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

// hashing is OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane (Password
// Storage Cheat Sheet). Each hash stores what it was made with, so this may change at any time.
var hashing = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashWait is how long a request waits for its turn to hash before it is sent away.
const hashWait = 5 * time.Second

// ErrBusy sends a caller away when more people log in than this process can serve.
var ErrBusy = &problem.Error{
	Kind: problem.Unavailable, Code: "SERVER_BUSY", Message: "Too many people are logging in, try again shortly",
	RetryAfter: 2 * time.Second,
}

// Passwords hashes passwords with argon2id, as many at once as there are processors: more would not
// be faster, and each takes 19 MiB that a burst of logins must not multiply. It is safe for
// concurrent use.
type Passwords struct {
	slots chan struct{}
	decoy string
}

// NewPasswords makes a Passwords with a decoy hash of its own.
func NewPasswords() (*Passwords, error) {
	decoy, err := argon2id.CreateHash(rand.Text(), hashing)
	if err != nil {
		return nil, fmt.Errorf("hash a decoy password: %w", err)
	}
	return &Passwords{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), decoy: decoy}, nil
}

// Hash gives the password's hash in PHC string format, to store. It returns ErrBusy, or ctx's error if
// ctx ends first.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := p.enter(ctx); err != nil {
		return "", err
	}
	defer p.leave()
	hash, err := argon2id.CreateHash(password, hashing)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}

// Matches reports whether the password is the one that hash was made of. An empty hash, for an account
// that does not exist, takes as long as any other and matches nothing, so that the time an answer
// takes does not tell who has an account. Its errors are Hash's.
func (p *Passwords) Matches(ctx context.Context, password, hash string) (bool, error) {
	if err := p.enter(ctx); err != nil {
		return false, err
	}
	defer p.leave()
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

func (p *Passwords) enter(ctx context.Context) error {
	// Otherwise a free slot and an ended ctx would be a matter of chance.
	if err := ctx.Err(); err != nil {
		return err
	}
	turn := time.NewTimer(hashWait)
	defer turn.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-turn.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives the slot to the next, and the memory that a hash takes to the system: Go would keep it for minutes, twice what
// the rest of the service needs.
func (p *Passwords) leave() {
	debug.FreeOSMemory()
	<-p.slots
}
