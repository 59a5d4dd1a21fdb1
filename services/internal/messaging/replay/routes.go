package replay

import (
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// topicName matches the name of an SNS topic.
var topicName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)

// Mount adds the admin routes <API>/admin/replays to r.
func (r Replays) Mount(router *mux.Router, guard identity.Guard) {
	replays := r.cfg.API + "/admin/replays"
	router.Handle(replays, guard.Person(r.handleRequest, identity.RoleAdmin)).Methods(http.MethodPost)
	router.Handle(replays+"/{replayId}", guard.Person(r.handleFind, identity.RoleAdmin)).Methods(http.MethodGet)
}

// replayJSON is a replay in an answer.
type replayJSON struct {
	ID          uuid.UUID  `json:"replayId"`
	Topic       string     `json:"topic"`
	Since       time.Time  `json:"since"`
	Until       time.Time  `json:"until"`
	Status      string     `json:"status"`
	Events      int        `json:"events"`
	CreatedAt   time.Time  `json:"createdAt"`
	CompletedAt *time.Time `json:"completedAt,omitempty"`
}

func write(w http.ResponseWriter, status int, r replay) error {
	out := replayJSON{r.ID, r.Topic, r.Since, r.Until, "RUNNING", r.Events, r.CreatedAt, r.CompletedAt}
	if r.CompletedAt != nil {
		out.Status = "COMPLETED"
	}
	return web.WriteJSON(w, status, out)
}

func (r Replays) handleRequest(w http.ResponseWriter, req *http.Request) error {
	var in struct {
		Topic string     `json:"topic"`
		Since time.Time  `json:"since"`
		Until *time.Time `json:"until"`
	}
	if err := web.Decode(w, req, &in); err != nil {
		return err
	}
	switch {
	case !topicName.MatchString(in.Topic):
		return problem.Field("topic", "topic must be the name of a topic")
	case in.Since.Before(time.Now().Add(-r.cfg.Kept)) || in.Since.After(time.Now()):
		return problem.Field("since", "since must be within the last %s, for which events are kept", r.cfg.Kept)
	case in.Until != nil && !in.Until.After(in.Since):
		return problem.Field("until", "until must be after since")
	}
	ctx := req.Context()
	requested, err := r.request(ctx, in.Topic, in.Since, in.Until)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "replay requested", "replayId", requested.ID, "topic", in.Topic, "since", in.Since,
		"until", requested.Until, "userId", identity.CurrentUser(ctx).ID)
	return write(w, http.StatusAccepted, requested)
}

func (r Replays) handleFind(w http.ResponseWriter, req *http.Request) error {
	id, err := web.PathID(req, "replayId")
	if err != nil {
		return err
	}
	found, err := r.find(req.Context(), id)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, found)
}
