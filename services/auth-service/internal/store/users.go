package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// userColumns are the columns of users that userFields scans, in its order.
const userColumns = `users.id, users.email, users.first_name, users.last_name, users.roles, users.email_verified,
	users.created_at`

func userFields(u *account.User) []any {
	return []any{&u.ID, &u.Email, &u.FirstName, &u.LastName, &u.Roles, &u.EmailVerified, &u.CreatedAt}
}

// Register creates the account and requests the mail that verifies its address. It returns the account with ID and
// CreatedAt. It returns account.ErrEmailTaken.
func (s *Store) Register(ctx context.Context, user account.User, passwordHash string) (account.User, error) {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO users (email, password_hash, first_name, last_name, roles)
			VALUES ($1, $2, $3, $4, $5)
			RETURNING `+userColumns,
			user.Email, passwordHash, user.FirstName, user.LastName, user.Roles).Scan(userFields(&user)...)
		if postgres.Violates(err, "users_email_key") {
			return account.ErrEmailTaken.Because(err)
		}
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		return requestMailTx(ctx, tx, account.EmailVerification, user.Email)
	})
	if err != nil {
		return account.User{}, err
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// EnsureAdmin creates the account, which must have the role ADMIN, if no user has that role. It returns
// account.ErrEmailTaken if there is no admin and a user has registered with its address.
func (s *Store) EnsureAdmin(ctx context.Context, admin account.User, passwordHash string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// If replicas start together, the others wait here for the first to insert the address.
		_, err := tx.Exec(ctx, `
			INSERT INTO users (email, password_hash, first_name, last_name, roles, email_verified)
			SELECT $1, $2, $3, $4, $5, true
			WHERE NOT EXISTS (SELECT FROM users WHERE 'ADMIN' = ANY (roles))
			ON CONFLICT (email) DO NOTHING`,
			admin.Email, passwordHash, admin.FirstName, admin.LastName, admin.Roles)
		if err != nil {
			return fmt.Errorf("create the first admin: %w", err)
		}
		var exists bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE 'ADMIN' = ANY (roles))`).Scan(&exists)
		if err != nil {
			return fmt.Errorf("create the first admin: %w", err)
		}
		if !exists {
			return account.ErrEmailTaken
		}
		return nil
	})
}

// Credentials returns the account with an address and the hash of its password. It returns
// account.ErrInvalidCredentials if there is none.
func (s *Store) Credentials(ctx context.Context, email account.Email) (account.User, string, error) {
	var user account.User
	var hash string
	err := s.pool.QueryRow(ctx, `SELECT `+userColumns+`, password_hash FROM users WHERE email = $1`, email).
		Scan(append(userFields(&user), &hash)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return account.User{}, "", account.ErrInvalidCredentials
	}
	if err != nil {
		return account.User{}, "", fmt.Errorf("credentials: %w", err)
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, hash, nil
}

// User returns an account. It returns account.NotFound.
func (s *Store) User(ctx context.Context, id uuid.UUID) (account.User, error) {
	users, err := s.Users(ctx, id)
	if err != nil {
		return account.User{}, err
	}
	if len(users) == 0 {
		return account.User{}, account.NotFound(id)
	}
	return users[0], nil
}

// Users returns the accounts with these ids, in the order of ids. It leaves out unknown ids.
func (s *Store) Users(ctx context.Context, ids ...uuid.UUID) ([]account.User, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+userColumns+`
		FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, position) JOIN users USING (id)
		ORDER BY position`, ids)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	users, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account.User])
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	for i := range users {
		users[i].CreatedAt = users[i].CreatedAt.UTC()
	}
	return users, nil
}

// Rename changes the user's names. It leaves a nil name as it is. It returns account.NotFound.
func (s *Store) Rename(ctx context.Context, id uuid.UUID, firstName, lastName *string) (account.User, error) {
	return s.update(ctx, id, `first_name = coalesce($2, first_name), last_name = coalesce($3, last_name)`,
		firstName, lastName)
}

// BecomeOrganizer adds the role ORGANIZER to the user. The next access token has it. It returns account.NotFound.
func (s *Store) BecomeOrganizer(ctx context.Context, id uuid.UUID) (account.User, error) {
	return s.update(ctx, id, `roles = CASE
		WHEN 'ORGANIZER' = ANY (roles) THEN roles
		ELSE array_cat(ARRAY ['USER', 'ORGANIZER'], array_remove(roles, 'USER')) END`)
}

// update sets columns of a user. The id is $1, args are $2 and following. It returns account.NotFound.
func (s *Store) update(ctx context.Context, id uuid.UUID, set string, args ...any) (account.User, error) {
	var user account.User
	err := s.pool.QueryRow(ctx, `UPDATE users SET `+set+` WHERE id = $1 RETURNING `+userColumns,
		append([]any{id}, args...)...).Scan(userFields(&user)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return account.User{}, account.NotFound(id)
	}
	if err != nil {
		return account.User{}, fmt.Errorf("update user %s: %w", id, err)
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// SetRoles sets the user's roles on behalf of an admin. If that changes them, it revokes the user's sessions. It
// returns account.NotFound, account.ErrOwnAdmin, and identity.ErrForbidden if the admin has lost that role by now: if
// two admins demote each other concurrently, one of them succeeds.
func (s *Store) SetRoles(ctx context.Context, admin, id uuid.UUID, roles []identity.Role) (account.User, error) {
	var user account.User
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+userColumns+` FROM users WHERE id = $1 OR id = $2 ORDER BY id FOR UPDATE`, admin, id)
		if err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		locked, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account.User])
		if err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		isAdmin, found := false, false
		for _, u := range locked {
			isAdmin = isAdmin || u.ID == admin && slices.Contains(u.Roles, identity.RoleAdmin)
			if u.ID == id {
				user, found = u, true
			}
		}
		switch {
		case !isAdmin:
			return identity.ErrForbidden
		case !found:
			return account.NotFound(id)
		case admin == id && !slices.Contains(roles, identity.RoleAdmin):
			return account.ErrOwnAdmin
		case slices.Equal(user.Roles, roles):
			return nil
		}
		user.Roles = roles
		if _, err := tx.Exec(ctx, `UPDATE users SET roles = $2 WHERE id = $1`, id, roles); err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		return revokeTx(ctx, tx, id, uuid.Nil)
	})
	if err != nil {
		return account.User{}, err
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}
