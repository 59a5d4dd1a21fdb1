// Package setup creates what auth-service needs before its first request: a signing key and the first admin. Replicas
// that start together create one of each.
package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Secrets reads a secret of the secret store. *sidecar.Client implements it.
type Secrets interface {
	Secret(ctx context.Context, name string) (string, error)
}

const (
	keyEncryptionKey = "auth-service-key-encryption-key"
	adminPassword    = "auth-service-admin-password"
)

// mailPurpose separates the key of mail tokens from the key that encrypts signing keys. Both come from one secret.
const mailPurpose = "tokens in account mails"

// Keys creates the first signing key if there is none, and checks that the secret decrypts the current one: a changed
// secret fails here and not at the first login. It returns the vault for signing keys and the tokens for account mails.
func Keys(ctx context.Context, db *store.Store, secrets Secrets) (keyring.Vault, account.MailTokens, error) {
	fail := func(err error) (keyring.Vault, account.MailTokens, error) {
		return keyring.Vault{}, account.MailTokens{}, err
	}
	secret, err := secrets.Secret(ctx, keyEncryptionKey)
	if err != nil {
		return fail(err)
	}
	vault, err := keyring.OpenVault(secret)
	if err != nil {
		return fail(secretError(keyEncryptionKey, err))
	}
	mailKey, err := keyring.Derive(secret, mailPurpose)
	if err != nil {
		return fail(secretError(keyEncryptionKey, err))
	}
	candidate, err := vault.NewKey()
	if err != nil {
		return fail(err)
	}
	if err := db.EnsureKey(ctx, candidate); err != nil {
		return fail(err)
	}
	current, err := db.CurrentKey(ctx)
	if err != nil {
		return fail(err)
	}
	if err := vault.Check(current); err != nil {
		return fail(secretError(keyEncryptionKey, err))
	}
	return vault, account.NewMailTokens(mailKey), nil
}

// Admin creates the first admin if there is none. Otherwise email and the secret have no effect.
func Admin(
	ctx context.Context, db *store.Store, passwords *account.Passwords, secrets Secrets, email account.Email,
) error {
	password, err := secrets.Secret(ctx, adminPassword)
	if err != nil {
		return err
	}
	if err := account.CheckPassword("password", password); err != nil {
		return secretError(adminPassword, err)
	}
	hash, err := passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	err = db.EnsureAdmin(ctx, account.User{
		Email: email, FirstName: "First", LastName: "Admin",
		Roles: []identity.Role{identity.RoleUser, identity.RoleAdmin},
	}, hash)
	if errors.Is(err, account.ErrEmailTaken) {
		return fmt.Errorf("there is no admin, and a user without that role has registered with ADMIN_EMAIL: %w", err)
	}
	return err
}

func secretError(name string, err error) error { return fmt.Errorf("secret %s: %w", name, err) }
