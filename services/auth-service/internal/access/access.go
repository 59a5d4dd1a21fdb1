// Package access drives what takes more than one transaction of package store: it hashes and compares passwords, issues
// and verifies tokens, and rotates the signing keys. An operation that is a single transaction, such as a change of
// roles, is called on package store directly.
package access

import (
	"context"
	"errors"

	"github.com/MicahParks/jwkset"
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
)

// Access gives people access to their accounts. Its methods may be called concurrently.
type Access struct {
	store     *store.Store
	passwords *account.Passwords
	vault     keyring.Vault
	tokens    account.MailTokens
}

// New returns an Access whose access tokens are signed by vault, and whose account mails carry tokens of tokens.
func New(
	s *store.Store, passwords *account.Passwords, vault keyring.Vault, tokens account.MailTokens,
) *Access {
	return &Access{store: s, passwords: passwords, vault: vault, tokens: tokens}
}

// Register creates an account and requests the mail that verifies its address. Its errors are those of
// account.Registration.Check, account.Passwords.Hash and store.Store.Register.
func (a *Access) Register(ctx context.Context, r account.Registration) (account.User, error) {
	user, err := r.Check()
	if err != nil {
		return account.User{}, err
	}
	hash, err := a.passwords.Hash(ctx, r.Password)
	if err != nil {
		return account.User{}, err
	}
	return a.store.Register(ctx, user, hash)
}

// ChangePassword sets a new password for the account of the attempt, if current is its password. It revokes the
// account's sessions except the given one. A wrong password counts as a failed login, so that a stolen access token
// cannot be used to guess the password. Its errors are those of account.CheckPassword for newPassword,
// account.ErrWrongPassword, account.ErrTooManyAttempts and account.ErrBusy.
func (a *Access) ChangePassword(
	ctx context.Context, attempt account.Attempt, current, next string, session uuid.UUID,
) error {
	if err := account.CheckPassword("newPassword", next); err != nil {
		return err
	}
	oldHash, err := a.checkPassword(ctx, attempt, current)
	if errors.Is(err, account.ErrInvalidCredentials) {
		return account.ErrWrongPassword
	}
	if err != nil {
		return err
	}
	newHash, err := a.passwords.Hash(ctx, next)
	if err != nil {
		return err
	}
	return a.store.ChangePassword(ctx, attempt, oldHash, newHash, session)
}

// VerifyEmail marks an address as verified, with the token of the mail that was sent to it. It returns
// account.ErrMailToken.
func (a *Access) VerifyEmail(ctx context.Context, token string) error {
	request, err := a.tokens.Verify(account.EmailVerification, token)
	if err != nil {
		return err
	}
	return a.store.VerifyEmail(ctx, request)
}

// ResetPassword sets a new password, with the token of a mail. Its errors are those of account.CheckPassword for
// newPassword, account.ErrMailToken and account.ErrBusy.
func (a *Access) ResetPassword(ctx context.Context, token, password string) error {
	if err := account.CheckPassword("newPassword", password); err != nil {
		return err
	}
	// The token is checked before the password is hashed, because hashing is expensive: a forged token costs one MAC, and
	// a used or expired one costs a query.
	request, err := a.tokens.Verify(account.PasswordReset, token)
	if err != nil {
		return err
	}
	if _, err := a.store.Mail(ctx, request); errors.Is(err, account.ErrMailNotFound) {
		return account.ErrMailToken
	} else if err != nil {
		return err
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return a.store.ResetPassword(ctx, request, hash)
}

// Mail returns a requested mail and its token. It returns account.ErrMailNotFound.
func (a *Access) Mail(ctx context.Context, request uuid.UUID) (account.Mail, string, error) {
	mail, err := a.store.Mail(ctx, request)
	if err != nil {
		return account.Mail{}, "", err
	}
	return mail, a.tokens.Token(mail.Kind, request), nil
}

// PublicKeys returns the keys with which access tokens are verified.
func (a *Access) PublicKeys(ctx context.Context) (jwkset.JWKSMarshal, error) {
	keys, err := a.store.PublishedKeys(ctx)
	if err != nil {
		return jwkset.JWKSMarshal{}, err
	}
	return keyring.KeySet(keys)
}

// RotateKeys creates the successor of a signing key that is keyring.KeyLifetime old, and deletes expired rows.
func (a *Access) RotateKeys(ctx context.Context) error {
	candidate, err := a.vault.NewKey()
	if err != nil {
		return err
	}
	if err := a.store.EnsureKey(ctx, candidate); err != nil {
		return err
	}
	return a.store.Purge(ctx)
}
