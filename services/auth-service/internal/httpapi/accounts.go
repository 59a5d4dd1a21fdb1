package httpapi

import (
	"errors"
	"net/http"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a API) me(w http.ResponseWriter, _ *http.Request, who caller) error {
	return writeUser(w, http.StatusOK, who.User)
}

func (a API) changeMe(w http.ResponseWriter, r *http.Request, who caller) error {
	var in struct {
		FirstName web.Optional[string] `json:"firstName"`
		LastName  web.Optional[string] `json:"lastName"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	for _, name := range []struct {
		field string
		value *string
	}{{"firstName", in.FirstName.Value}, {"lastName", in.LastName.Value}} {
		if name.value != nil {
			var err error
			if *name.value, err = account.CheckName(name.field, *name.value); err != nil {
				return err
			}
		}
	}
	user, err := a.Store.Rename(r.Context(), who.ID, in.FirstName.Value, in.LastName.Value)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a API) changePassword(w http.ResponseWriter, r *http.Request, who caller) error {
	var in struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if in.CurrentPassword == "" {
		return problem.Field("currentPassword", "currentPassword is required")
	}
	if err := account.CheckPassword("newPassword", in.NewPassword); err != nil {
		return err
	}
	// Whoever found a token must not find the password with it: this counts like a login.
	attempt := account.Attempt{Email: who.Email, Address: a.address(r)}
	current, err := a.prove(r.Context(), attempt, in.CurrentPassword)
	if errors.Is(err, account.ErrInvalidCredentials) {
		return account.ErrWrongPassword
	}
	if err != nil {
		return err
	}
	hash, err := a.Passwords.Hash(r.Context(), in.NewPassword)
	if err != nil {
		return err
	}
	if err := a.Store.ChangePassword(r.Context(), attempt, current, hash, who.session); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a API) becomeOrganizer(w http.ResponseWriter, r *http.Request, who caller) error {
	user, err := a.Store.BecomeOrganizer(r.Context(), who.ID)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a API) setRoles(w http.ResponseWriter, r *http.Request, who caller) error {
	id, err := web.PathID(r, "userId")
	if err != nil {
		return err
	}
	var in struct {
		Roles []string `json:"roles"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	roles, err := account.ParseRoles(in.Roles)
	if err != nil {
		return err
	}
	user, err := a.Store.SetRoles(r.Context(), who.ID, id, roles)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a API) verifyEmail(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	request, err := a.MailTokens.Verify(account.EmailVerification, in.Token)
	if err != nil {
		return err
	}
	if err := a.Store.VerifyEmail(r.Context(), request); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a API) resendVerification(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := a.Store.RequestMail(r.Context(), account.EmailVerification, who.Email); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a API) forgotPassword(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email string `json:"email"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	email, err := account.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	if err := a.Store.RequestMail(r.Context(), account.PasswordReset, email); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a API) resetPassword(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token       string `json:"token"`
		NewPassword string `json:"newPassword"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if err := account.CheckPassword("newPassword", in.NewPassword); err != nil {
		return err
	}
	// Before anything is hashed for anybody: a token that we did not make costs next to nothing, and one
	// that is over costs a query.
	request, err := a.MailTokens.Verify(account.PasswordReset, in.Token)
	if err != nil {
		return err
	}
	if _, err := a.Store.Mail(r.Context(), request); errors.Is(err, account.ErrMailNotFound) {
		return account.ErrMailToken
	} else if err != nil {
		return err
	}
	hash, err := a.Passwords.Hash(r.Context(), in.NewPassword)
	if err != nil {
		return err
	}
	if err := a.Store.ResetPassword(r.Context(), request, hash); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a API) mail(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "requestId")
	if err != nil {
		return err
	}
	mail, err := a.Store.Mail(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, calls.AccountMailAnswer{
		RequestID: mail.RequestID, UserID: mail.UserID, Email: string(mail.Email), FirstName: mail.FirstName,
		Kind: calls.AccountMailKind(mail.Kind), Token: a.MailTokens.Token(mail.Kind, id), ExpiresAt: mail.ExpiresAt,
	})
}

// rotateKeys replaces a signing key that is old, and cleans up.
func (a API) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	candidate, err := a.Vault.NewKey()
	if err != nil {
		return err
	}
	if err := a.Store.EnsureKey(r.Context(), candidate); err != nil {
		return err
	}
	if err := a.Store.Purge(r.Context()); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}
