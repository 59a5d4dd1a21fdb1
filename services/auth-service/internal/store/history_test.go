package store_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// history is the number of other users and sessions in the database. No statement may read them all.
const history = 20_000

func TestStatementsDoNotReadWholeTables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `
		INSERT INTO users (id, email, password_hash, first_name, last_name, roles)
		SELECT md5('user ' || n)::uuid, n || '@example.org', '', '', '', ARRAY ['USER']
		FROM generate_series(1, $1) n`, history)
	b.exec(t, `
		INSERT INTO sessions (id, user_id, expires_at)
		SELECT md5('session ' || n)::uuid, md5('user ' || n)::uuid, now() + interval '10 days'
		FROM generate_series(1, $1) n`, history)
	b.exec(t, `
		INSERT INTO refresh_tokens (hash, session_id, expires_at)
		SELECT sha256((use || ' of ' || n)::bytea), md5('session ' || n)::uuid, now() + interval '10 days'
		FROM generate_series(1, $1) n, generate_series(1, 3) use`, history)
	b.exec(t, `
		INSERT INTO login_failures (account, address)
		SELECT sha256(n::text::bytea), n % 1000 FROM generate_series(1, $1) n`, history)
	b.exec(t, `
		INSERT INTO account_mails (account, user_id, kind, expires_at)
		SELECT sha256(n::text::bytea), md5('user ' || n)::uuid, 'PASSWORD_RESET', now() + interval '1 day'
		FROM generate_series(1, $1) n`, history)

	plans := postgrestest.Explain(t, b.pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.New(pool, 8)
		ok := func(err error) { t.Helper(); require.NoError(t, err) }
		ok(s.EnsureAdmin(ctx, account.User{Email: "admin@example.com", Roles: []identity.Role{identity.RoleAdmin}}, ""))
		ann, err := s.Register(ctx, account.User{
			Email: "ann@example.com", Roles: []identity.Role{identity.RoleUser},
		}, "hash of ann@example.com")
		ok(err)
		attempt := from(ann.Email)
		ok(s.CheckLimits(ctx, attempt))
		ok(s.RecordFailure(ctx, attempt))
		_, _, err = s.Credentials(ctx, ann.Email)
		ok(err)
		_, session, err := s.Login(ctx, attempt, "hash of ann@example.com", []byte("1"))
		ok(err)
		_, _, err = s.Refresh(ctx, []byte("1"), []byte("2"))
		ok(err)
		_, _, err = s.Refresh(ctx, []byte("1"), []byte("3"))
		require.ErrorIs(t, err, account.ErrRefreshTokenReused)
		_, err = s.SessionUser(ctx, ann.ID, session.ID)
		require.ErrorIs(t, err, account.ErrTokenRevoked)
		ok(s.Logout(ctx, []byte("2")))
		ok(s.ChangePassword(ctx, attempt, "hash of ann@example.com", "another", session.ID))
		_, err = s.Users(ctx, ann.ID, uuid.New())
		ok(err)
		_, err = s.Rename(ctx, ann.ID, nil, nil)
		ok(err)
		ok(s.RequestMail(ctx, account.PasswordReset, ann.Email))
		var request uuid.UUID
		ok(b.pool.QueryRow(ctx, `
			SELECT request_id FROM account_mails WHERE user_id = $1 AND kind = 'PASSWORD_RESET'`, ann.ID).Scan(&request))
		_, err = s.Mail(ctx, request)
		ok(err)
		ok(s.ResetPassword(ctx, request, ""))
		ok(s.Purge(ctx))
	})
	require.NotRegexp(t, "Seq Scan on (users|sessions|refresh_tokens|login_failures|account_mails)", plans.Of(t, ""))
}
