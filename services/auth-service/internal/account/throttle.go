package account

import (
	"crypto/sha256"
	"time"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The limit on failed attempts to prove an account's password: after FailuresPerAccount failures within FailureWindow,
// further attempts are rejected.
const (
	FailuresPerAccount = 5
	FailureWindow      = 15 * time.Minute
)

// ErrTooManyAttempts rejects an attempt after too many failures.
var ErrTooManyAttempts = problem.New(problem.Throttled, "TOO_MANY_ATTEMPTS",
	"Too many failed attempts, try again later")

// TooManyAttempts returns an ErrTooManyAttempts that says after how long to retry.
func TooManyAttempts(wait time.Duration) *problem.Error {
	e := *ErrTooManyAttempts
	e.RetryAfter = wait
	return &e
}

// Attempt is an attempt to prove a password.
type Attempt struct {
	Email   Email
	Address string // the network address of the client
}

// Key returns the hash under which failures and mails of an e-mail address are counted. The address itself is not
// stored, because a mistyped one may be another person's or a secret.
func (e Email) Key() []byte {
	hash := sha256.Sum256([]byte(e))
	return hash[:]
}
