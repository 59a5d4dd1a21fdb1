package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// MailKind is what a mail to an account's address is for.
type MailKind string

// The kinds of mails.
const (
	EmailVerification MailKind = "EMAIL_VERIFICATION"
	PasswordReset     MailKind = "PASSWORD_RESET"
)

// Life is how long the token in a mail of this kind can be used.
func (k MailKind) Life() time.Duration {
	if k == PasswordReset {
		return time.Hour
	}
	return 48 * time.Hour
}

// MailsPerHour is how many mails of one kind an account gets within an hour; whoever asks for more gets
// the answer that everybody gets, but no mail.
const MailsPerHour = 5

// Errors of mails and their tokens.
var (
	ErrMailNotFound = problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "There is no such mail to send, or no more")
	ErrMailToken    = problem.Field("token", "token is unknown, expired or used")
)

// Mail is a mail to send to an account's address.
type Mail struct {
	RequestID uuid.UUID
	UserID    uuid.UUID
	Email     Email
	FirstName string
	Kind      MailKind
	ExpiresAt time.Time
}

// MailTokens makes the tokens in mails and reads them. A token is the id of the mail's request and a
// proof that we made it, so that no database holds what opens an account.
type MailTokens struct{ key []byte }

// NewMailTokens makes the MailTokens of a key that has no other use.
func NewMailTokens(key []byte) MailTokens { return MailTokens{key: key} }

// Token gives the token of a mail.
func (t MailTokens) Token(kind MailKind, requestID uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append(requestID[:], t.prove(kind, requestID)...))
}

// Read gives the request of a mail's token. It returns ErrMailToken for what is no token of a mail of
// this kind. Whether it may still be used, the store knows.
func (t MailTokens) Read(kind MailKind, token string) (uuid.UUID, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != len(uuid.UUID{})+sha256.Size {
		return uuid.Nil, ErrMailToken.Because(err)
	}
	requestID, proof := uuid.UUID(raw[:16]), raw[16:]
	if !hmac.Equal(proof, t.prove(kind, requestID)) {
		return uuid.Nil, ErrMailToken
	}
	return requestID, nil
}

func (t MailTokens) prove(kind MailKind, requestID uuid.UUID) []byte {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(kind)) // or a verification would reset a password
	mac.Write(requestID[:])
	return mac.Sum(nil)
}
