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

// RequestMail asks for a mail to the address, if it is an account's that can use one and that has not had
// account.MailsPerHour. It does the same work whether or not it is.
func (s *Store) RequestMail(ctx context.Context, kind account.MailKind, email account.Email) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Those who ask at once take turns, so that the limit is one.
		if err := lockTx(ctx, tx, lockMails, hex.EncodeToString(email.Key())); err != nil {
			return err
		}
		var asked int
		if err := tx.QueryRow(ctx, `
			SELECT count(*) FROM account_mails
			WHERE account = $1 AND kind = $2 AND created_at > clock_timestamp() - interval '1 hour'`,
			email.Key(), kind).Scan(&asked); err != nil {
			return fmt.Errorf("count mails: %w", err)
		}
		if asked >= account.MailsPerHour {
			return nil
		}
		return requestMailTx(ctx, tx, kind, email)
	})
}

func requestMailTx(ctx context.Context, tx pgx.Tx, kind account.MailKind, email account.Email) error {
	var request uuid.UUID
	var user *uuid.UUID
	// A request for nobody is written too, for the time it takes.
	err := tx.QueryRow(ctx, `
		INSERT INTO account_mails (account, kind, expires_at, user_id)
		VALUES ($1, $2, clock_timestamp() + $3::interval, (
			SELECT id FROM users WHERE email = $4 AND NOT ($2 = 'EMAIL_VERIFICATION' AND email_verified)))
		RETURNING request_id, user_id`, email.Key(), kind, kind.Life(), email).Scan(&request, &user)
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
	// And an event about nobody is written, and taken back.
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

// Mail gives the mail that was requested under this id. It returns account.ErrMailNotFound if there is none
// or its token cannot be used any more.
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

// VerifyEmail uses the token of a mail of the kind account.EmailVerification. It returns
// account.ErrMailToken.
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

// ResetPassword uses the token of a mail of the kind account.PasswordReset: the account has the new
// password, no failures, and no session. It returns account.ErrMailToken.
func (s *Store) ResetPassword(ctx context.Context, request uuid.UUID, passwordHash string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		id, err := useTx(ctx, tx, account.PasswordReset, request)
		if err != nil {
			return err
		}
		var email account.Email
		if err := tx.QueryRow(ctx, `UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING email`, id, passwordHash).
			Scan(&email); err != nil {
			return fmt.Errorf("reset the password of %s: %w", id, err)
		}
		if err := voidResetsTx(ctx, tx, id); err != nil {
			return err
		}
		if err := forgiveTx(ctx, tx, email); err != nil {
			return err
		}
		return revokeTx(ctx, tx, id, uuid.Nil)
	})
}

// useTx uses a mail's token up and gives whose it was. Of any number of uses one succeeds. It returns
// account.ErrMailToken.
func useTx(ctx context.Context, tx pgx.Tx, kind account.MailKind, request uuid.UUID) (uuid.UUID, error) {
	var user uuid.UUID
	err := tx.QueryRow(ctx, `
		UPDATE account_mails SET used_at = clock_timestamp()
		WHERE request_id = $1 AND kind = $2 AND user_id IS NOT NULL AND used_at IS NULL AND expires_at > clock_timestamp()
		RETURNING user_id`, request, kind).Scan(&user)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, account.ErrMailToken
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("use mail %s: %w", request, err)
	}
	return user, nil
}

// voidResetsTx makes the mails worthless with which the user could have set another password than the
// one just set.
func voidResetsTx(ctx context.Context, tx pgx.Tx, user uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		UPDATE account_mails SET used_at = clock_timestamp()
		WHERE user_id = $1 AND kind = 'PASSWORD_RESET' AND used_at IS NULL`, user); err != nil {
		return fmt.Errorf("void mails of %s: %w", user, err)
	}
	return nil
}
