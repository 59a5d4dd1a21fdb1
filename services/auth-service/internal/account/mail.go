package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// MailKind is the purpose of an e-mail to an account's address.
type MailKind string

// The kinds of mails.
const (
	EmailVerification MailKind = "EMAIL_VERIFICATION"
	PasswordReset     MailKind = "PASSWORD_RESET"
)

// Lifetime returns how long the token in a mail of this kind is valid.
func (k MailKind) Lifetime() time.Duration {
	if k == PasswordReset {
		return time.Hour
	}
	return 48 * time.Hour
}

// MailsPerHour is the maximum number of mails of one kind to an account within an hour. A request beyond it gets the
// same response as any other, but sends no mail.
const MailsPerHour = 5

// Errors of mails and their tokens.
var (
	ErrMailNotFound = problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND",
		"The requested mail does not exist, or its token is used or expired")
	ErrMailToken = problem.Field("token", "token is unknown, expired or used")
)

// Mail is a mail to be sent to an account's address.
type Mail struct {
	RequestID uuid.UUID
	UserID    uuid.UUID
	Email     Email
	FirstName string
	Kind      MailKind
	ExpiresAt time.Time
}

// MailTokens creates and verifies the tokens in mails. A token is the id of the mail's request with a MAC (RFC 2104),
// so that no database holds anything that opens an account.
type MailTokens struct{ key []byte }

// NewMailTokens returns the MailTokens of a key, which must have no other use.
func NewMailTokens(key []byte) MailTokens { return MailTokens{key: key} }

// Token returns the token of a mail. It is the same for every call.
func (t MailTokens) Token(kind MailKind, requestID uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append(requestID[:], t.mac(kind, requestID)...))
}

// Verify returns the id of the mail's request that a token was created for. It returns ErrMailToken for any other text,
// including a token of another kind. It does not check whether the token is used or expired; that is in the database.
func (t MailTokens) Verify(kind MailKind, token string) (uuid.UUID, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != len(uuid.UUID{})+sha256.Size {
		return uuid.Nil, ErrMailToken.Because(err)
	}
	requestID, mac := uuid.UUID(raw[:16]), raw[16:]
	if !hmac.Equal(mac, t.mac(kind, requestID)) {
		return uuid.Nil, ErrMailToken
	}
	return requestID, nil
}

func (t MailTokens) mac(kind MailKind, requestID uuid.UUID) []byte {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(kind)) // so that a token that verifies an address cannot reset a password
	mac.Write(requestID[:])
	return mac.Sum(nil)
}
