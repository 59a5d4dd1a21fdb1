package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// RequestMail requests a mail to the address, by an event that notification-service consumes. It sends none if the
// address has no account, if the account's address is verified already, or if account.MailsPerHour is reached. With and
// without an account it does the same work, so that its duration does not reveal which accounts exist.
func (s *Store) RequestMail(ctx context.Context, kind account.MailKind, email account.Email) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// The lock serializes requests for an account, so that concurrent ones cannot exceed the limit.
		if err := lockTx(ctx, tx, lockMails, hex.EncodeToString(email.Key())); err != nil {
			return err
		}
		var requests int
		if err := tx.QueryRow(ctx, `
			SELECT count(*) FROM account_mails
			WHERE account = $1 AND kind = $2 AND created_at > clock_timestamp() - interval '1 hour'`,
			email.Key(), kind).Scan(&requests); err != nil {
			return fmt.Errorf("count mails: %w", err)
		}
		if requests >= account.MailsPerHour {
			return nil
		}
		return requestMailTx(ctx, tx, kind, email)
	})
}

func requestMailTx(ctx context.Context, tx pgx.Tx, kind account.MailKind, email account.Email) error {
	var request uuid.UUID
	var user *uuid.UUID
	// A request without an account is inserted too, because it must take the same time.
	err := tx.QueryRow(ctx, `
		INSERT INTO account_mails (account, kind, expires_at, user_id)
		VALUES ($1, $2, clock_timestamp() + $3::interval, (
			SELECT id FROM users WHERE email = $4 AND NOT ($2 = 'EMAIL_VERIFICATION' AND email_verified)))
		RETURNING request_id, user_id`, email.Key(), kind, kind.Lifetime(), email).Scan(&request, &user)
	if err != nil {
		return fmt.Errorf("request a mail: %w", err)
	}
	details := events.AccountMailRequest{RequestID: request}
	if user != nil {
		details.UserID = *user
	}
	var event messaging.Payload = events.EmailVerificationRequested{AccountMailRequest: details}
	if kind == account.PasswordReset {
		event = events.PasswordResetRequested{AccountMailRequest: details}
	}
	// For the same reason an event without an account is inserted too, and rolled back.
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("request a mail: %w", err)
	}
	if err := outbox.AddTx(ctx, savepoint, source, event); err != nil {
		return err
	}
	end := savepoint.Commit
	if user == nil {
		end = savepoint.Rollback
	}
	if err := end(ctx); err != nil {
		return fmt.Errorf("request a mail: %w", err)
	}
	return nil
}

// Mail returns the mail of a request. It returns account.ErrMailNotFound if there is none, or if its token is used or
// expired.
func (s *Store) Mail(ctx context.Context, request uuid.UUID) (account.Mail, error) {
	mail := account.Mail{RequestID: request}
	err := s.pool.QueryRow(ctx, `
		SELECT users.id, email, first_name, kind, expires_at
		FROM account_mails JOIN users ON users.id = user_id
		WHERE request_id = $1 AND used_at IS NULL AND expires_at > now()`, request).
		Scan(&mail.UserID, &mail.Email, &mail.FirstName, &mail.Kind, &mail.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return account.Mail{}, account.ErrMailNotFound
	}
	if err != nil {
		return account.Mail{}, fmt.Errorf("mail %s: %w", request, err)
	}
	mail.ExpiresAt = mail.ExpiresAt.UTC()
	return mail, nil
}

// VerifyEmail uses the token of a mail of kind account.EmailVerification and marks the account's address as verified.
// It returns account.ErrMailToken.
func (s *Store) VerifyEmail(ctx context.Context, request uuid.UUID) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		id, err := useTx(ctx, tx, account.EmailVerification, request)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE users SET email_verified = true WHERE id = $1`, id); err != nil {
			return fmt.Errorf("verify the address of %s: %w", id, err)
		}
		return nil
	})
}

// ResetPassword uses the token of a mail of kind account.PasswordReset. It sets the account's password, deletes its
// failures, revokes its sessions, and invalidates other such mails. It returns account.ErrMailToken.
func (s *Store) ResetPassword(ctx context.Context, request uuid.UUID, passwordHash string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		id, err := useTx(ctx, tx, account.PasswordReset, request)
		if err != nil {
			return err
		}
		var email account.Email
		err = tx.QueryRow(ctx, `UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING email`, id, passwordHash).
			Scan(&email)
		if err != nil {
			return fmt.Errorf("reset the password of %s: %w", id, err)
		}
		if err := invalidateResetsTx(ctx, tx, id); err != nil {
			return err
		}
		if err := deleteFailuresTx(ctx, tx, email); err != nil {
			return err
		}
		return revokeTx(ctx, tx, id, uuid.Nil)
	})
}

// useTx marks a mail's token as used and returns its user. Of several calls for one token, one succeeds; the others
// return account.ErrMailToken.
func useTx(ctx context.Context, tx pgx.Tx, kind account.MailKind, request uuid.UUID) (uuid.UUID, error) {
	var user uuid.UUID
	err := tx.QueryRow(ctx, `
		UPDATE account_mails SET used_at = clock_timestamp()
		WHERE request_id = $1 AND kind = $2 AND user_id IS NOT NULL
			AND used_at IS NULL AND expires_at > clock_timestamp()
		RETURNING user_id`, request, kind).Scan(&user)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, account.ErrMailToken
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("use mail %s: %w", request, err)
	}
	return user, nil
}

// invalidateResetsTx marks the user's unused mails of kind account.PasswordReset as used, so that they cannot replace a
// password that has just been set.
func invalidateResetsTx(ctx context.Context, tx pgx.Tx, user uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		UPDATE account_mails SET used_at = clock_timestamp()
		WHERE user_id = $1 AND kind = 'PASSWORD_RESET' AND used_at IS NULL`, user); err != nil {
		return fmt.Errorf("invalidate mails of %s: %w", user, err)
	}
	return nil
}
