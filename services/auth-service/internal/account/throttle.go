package account

import (
	"crypto/sha256"
	"time"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// How many failures to prove a password an account may see within a window of time before nobody gets
// another try, and how long the window is.
const (
	FailuresPerAccount = 5
	FailureWindow      = 15 * time.Minute
)

// ErrTooManyAttempts sends away whoever guesses passwords.
var ErrTooManyAttempts = problem.New(problem.Throttled, "TOO_MANY_ATTEMPTS", "Too many failed attempts, try again later")

// TooManyAttempts is ErrTooManyAttempts with how long to wait.
func TooManyAttempts(wait time.Duration) *problem.Error {
	e := *ErrTooManyAttempts
	e.RetryAfter = wait
	return &e
}

// Attempt is a try to prove a password.
type Attempt struct {
	Email   Email
	Address string // where it comes from
}

// Key gives what an e-mail address is counted under: people mistype, and what they typed is not ours to
// keep.
func (e Email) Key() []byte {
	hash := sha256.Sum256([]byte(e))
	return hash[:]
}
