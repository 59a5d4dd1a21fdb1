package access

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Tokens are the result of a login or a refresh.
type Tokens struct {
	AccessToken      string
	ExpiresAt        time.Time // of the access token
	RefreshToken     string
	RefreshExpiresAt time.Time
}

// Login opens a session if the password is the account's. It returns account.ErrInvalidCredentials,
// account.ErrTooManyAttempts or account.ErrBusy.
func (a *Access) Login(ctx context.Context, attempt account.Attempt, password string) (Tokens, error) {
	hash, err := a.checkPassword(ctx, attempt, password)
	if err != nil {
		return Tokens{}, err
	}
	key, err := a.store.CurrentKey(ctx)
	if err != nil {
		return Tokens{}, err
	}
	refreshToken := account.NewRefreshToken()
	user, session, err := a.store.Login(ctx, attempt, hash, account.HashToken(refreshToken))
	if err != nil {
		return Tokens{}, err
	}
	return a.issue(key, user, session, refreshToken)
}

// checkPassword returns the hash of the account's password if the password matches it. For an address without an
// account it does the same work and returns the same error, so that neither reveals which accounts exist. It returns
// account.ErrInvalidCredentials, account.ErrTooManyAttempts or account.ErrBusy.
func (a *Access) checkPassword(ctx context.Context, attempt account.Attempt, password string) (string, error) {
	if err := a.store.CheckLimits(ctx, attempt); err != nil {
		return "", err
	}
	_, hash, err := a.store.Credentials(ctx, attempt.Email)
	// Without an account the hash is empty; the comparison takes as long as with one.
	if err != nil && !errors.Is(err, account.ErrInvalidCredentials) {
		return "", err
	}
	matches, err := a.passwords.Matches(ctx, password, hash)
	if err != nil {
		return "", err
	}
	if !matches {
		if err := a.store.RecordFailure(ctx, attempt); err != nil {
			return "", err
		}
		return "", account.ErrInvalidCredentials
	}
	return hash, nil
}

// Refresh exchanges a refresh token for the next one and an access token. Its errors are those of store.Store.Refresh.
func (a *Access) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	// The key is read before the token is used. If there were none after that, the session would be lost.
	key, err := a.store.CurrentKey(ctx)
	if err != nil {
		return Tokens{}, err
	}
	next := account.NewRefreshToken()
	user, session, err := a.store.Refresh(ctx, account.HashToken(refreshToken), account.HashToken(next))
	if errors.Is(err, account.ErrRefreshTokenReused) {
		slog.WarnContext(ctx, "session revoked: its refresh token was used twice")
	}
	if err != nil {
		return Tokens{}, err
	}
	return a.issue(key, user, session, next)
}

// issue signs an access token and returns it with the refresh token.
func (a *Access) issue(
	key keyring.Key, user account.User, session account.Session, refreshToken string,
) (Tokens, error) {
	token, expiresAt, err := a.vault.Sign(key, user, session.ID, time.Now())
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{
		AccessToken: token, ExpiresAt: expiresAt, RefreshToken: refreshToken, RefreshExpiresAt: session.RefreshExpiresAt,
	}, nil
}

// Logout revokes the session of a refresh token. It does nothing if there is none.
func (a *Access) Logout(ctx context.Context, refreshToken string) error {
	return a.store.Logout(ctx, account.HashToken(refreshToken))
}

// Authenticate returns the claims of an access token, and its user with the current roles. Unlike the verifiers of
// other services it detects that the token's session has ended. It returns identity.ErrTokenInvalid,
// identity.ErrTokenExpired or account.ErrTokenRevoked.
func (a *Access) Authenticate(
	ctx context.Context, accessToken string,
) (identity.AccessClaims, account.User, error) {
	keys, err := a.store.PublishedKeys(ctx)
	if err != nil { // not ErrTokenInvalid: the token may be valid
		return identity.AccessClaims{}, account.User{}, err
	}
	claims, id, err := keyring.Verifier(keys).Claims(ctx, accessToken)
	if err != nil {
		return identity.AccessClaims{}, account.User{}, err
	}
	user, err := a.store.SessionUser(ctx, id, claims.Session)
	return claims, user, err
}
