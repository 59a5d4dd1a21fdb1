package httpapi

import (
	"net/http"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a api) register(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email     string `json:"email"`
		Password  string `json:"password"`
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
		Organizer bool   `json:"organizer"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	user, err := a.access.Register(r.Context(), account.Registration(in))
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusCreated, user)
}

func (a api) me(w http.ResponseWriter, _ *http.Request, by caller) error {
	return writeUser(w, http.StatusOK, by.User)
}

func (a api) changeMe(w http.ResponseWriter, r *http.Request, by caller) error {
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
	user, err := a.store.Rename(r.Context(), by.ID, in.FirstName.Value, in.LastName.Value)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a api) changePassword(w http.ResponseWriter, r *http.Request, by caller) error {
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
	attempt := account.Attempt{Email: by.Email, Address: a.address(r)}
	err := a.access.ChangePassword(r.Context(), attempt, in.CurrentPassword, in.NewPassword, by.session)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a api) becomeOrganizer(w http.ResponseWriter, r *http.Request, by caller) error {
	user, err := a.store.BecomeOrganizer(r.Context(), by.ID)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a api) setRoles(w http.ResponseWriter, r *http.Request, by caller) error {
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
	user, err := a.store.SetRoles(r.Context(), by.ID, id, roles)
	if err != nil {
		return err
	}
	return writeUser(w, http.StatusOK, user)
}

func (a api) verifyEmail(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if err := a.access.VerifyEmail(r.Context(), in.Token); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a api) resendVerification(w http.ResponseWriter, r *http.Request, by caller) error {
	if err := a.store.RequestMail(r.Context(), account.EmailVerification, by.Email); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// forgotPassword returns the same response for every address, so that it does not reveal which accounts exist.
func (a api) forgotPassword(w http.ResponseWriter, r *http.Request) error {
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
	if err := a.store.RequestMail(r.Context(), account.PasswordReset, email); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a api) resetPassword(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token       string `json:"token"`
		NewPassword string `json:"newPassword"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if err := a.access.ResetPassword(r.Context(), in.Token, in.NewPassword); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
