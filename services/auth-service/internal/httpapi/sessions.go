package httpapi

import (
	"net/http"
	"time"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/access"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a api) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	email, err := account.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	if in.Password == "" {
		return problem.Field("password", "password is required")
	}
	tokens, err := a.access.Login(r.Context(), account.Attempt{Email: email, Address: a.address(r)}, in.Password)
	if err != nil {
		return err
	}
	return writeTokens(w, tokens)
}

func (a api) refresh(w http.ResponseWriter, r *http.Request) error {
	refreshToken, err := decodeRefreshToken(w, r)
	if err != nil {
		return err
	}
	tokens, err := a.access.Refresh(r.Context(), refreshToken)
	if err != nil {
		return err
	}
	return writeTokens(w, tokens)
}

func (a api) logout(w http.ResponseWriter, r *http.Request) error {
	refreshToken, err := decodeRefreshToken(w, r)
	if err != nil {
		return err
	}
	if err := a.access.Logout(r.Context(), refreshToken); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func decodeRefreshToken(w http.ResponseWriter, r *http.Request) (string, error) {
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return "", err
	}
	if in.RefreshToken == "" {
		return "", problem.Field("refreshToken", "refreshToken is required")
	}
	return in.RefreshToken, nil
}

func writeTokens(w http.ResponseWriter, t access.Tokens) error {
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, struct {
		AccessToken      string    `json:"accessToken"`
		TokenType        string    `json:"tokenType"`
		ExpiresIn        int       `json:"expiresIn"` // seconds
		ExpiresAt        time.Time `json:"expiresAt"`
		RefreshToken     string    `json:"refreshToken"`
		RefreshExpiresAt time.Time `json:"refreshExpiresAt"`
	}{
		t.AccessToken, "Bearer", int(keyring.TokenLifetime.Seconds()), t.ExpiresAt, t.RefreshToken, t.RefreshExpiresAt,
	})
}

// keys returns the key set with which other services verify access tokens.
func (a api) keys(w http.ResponseWriter, r *http.Request) error {
	set, err := a.access.PublicKeys(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, set)
}
