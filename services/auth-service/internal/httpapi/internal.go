package httpapi

import (
	"net/http"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBatch is the maximum number of users in one call.
const maxBatch = 100

func (a api) validateToken(w http.ResponseWriter, r *http.Request) error {
	var in calls.ValidateTokenRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if in.Token == "" {
		return problem.Field("token", "token is required")
	}
	claims, user, err := a.access.Authenticate(r.Context(), in.Token)
	if problem.KindOf(err) == problem.Unauthenticated {
		return writeInvalid(w, r, err)
	}
	if err != nil {
		return err
	}
	roles := make([]calls.Role, len(claims.Roles))
	for i, role := range claims.Roles {
		roles[i] = calls.Role(role)
	}
	return web.WriteJSON(w, http.StatusOK, calls.ValidateTokenAnswer{
		Valid: true, UserID: user.ID, Email: string(user.Email), Roles: roles, ExpiresAt: claims.ExpiresAt.UTC(),
	})
}

// writeInvalid writes the refusal of a token. In the contract it has the field valid beside those of other errors.
func writeInvalid(w http.ResponseWriter, r *http.Request, err error) error {
	p := web.Problem(r, err)
	return web.WriteJSON(w, web.Status(p.Kind), calls.ValidateTokenRefused{
		Refused: calls.Refused{Error: p.Code, Message: p.Message},
	})
}

func (a api) user(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "userId")
	if err != nil {
		return err
	}
	user, err := a.store.User(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.UserAnswer{
		UserSummary: summarize(user), EmailVerified: user.EmailVerified, CreatedAt: user.CreatedAt,
	})
}

func (a api) users(w http.ResponseWriter, r *http.Request) error {
	var in calls.UsersRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	ids, err := web.ParseIDs("userIds", in.UserIDs, maxBatch)
	if err != nil {
		return err
	}
	users, err := a.store.Users(r.Context(), ids...)
	if err != nil {
		return err
	}
	summaries := make([]calls.UserSummary, len(users))
	for i, user := range users {
		summaries[i] = summarize(user)
	}
	return web.WriteJSON(w, http.StatusOK, calls.UsersAnswer{Users: summaries})
}

func (a api) mail(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "requestId")
	if err != nil {
		return err
	}
	mail, token, err := a.access.Mail(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, calls.AccountMailAnswer{
		RequestID: mail.RequestID, UserID: mail.UserID, Email: string(mail.Email), FirstName: mail.FirstName,
		Kind: calls.AccountMailKind(mail.Kind), Token: token, ExpiresAt: mail.ExpiresAt,
	})
}
