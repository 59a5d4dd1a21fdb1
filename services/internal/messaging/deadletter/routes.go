package deadletter

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxMessage bounds a message of a dead-letter queue, in bytes. The topic's frame escapes every quote of the event.
const maxMessage = 2 * web.MaxBody

// Mount adds the archive's routes to r: for the sidecar's bindings /bindings/dead-letters,
// /bindings/ordered-dead-letters and /bindings/monitor-dead-letters, and for admins <API>/admin/dead-letters.
func (a Archive) Mount(r *mux.Router, guard identity.Guard) {
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }
	post("/bindings/dead-letters", guard.Sidecar(a.receive(a.cfg.Queues.Main)))
	if a.cfg.Queues.Ordered != "" {
		post("/bindings/ordered-dead-letters", guard.Sidecar(a.receive(a.cfg.Queues.Ordered)))
	}
	post("/bindings/monitor-dead-letters", guard.Sidecar(a.handleSweep))

	admin := func(h web.Handler) web.Handler { return guard.Person(h, identity.RoleAdmin) }
	letters := a.cfg.API + "/admin/dead-letters"
	r.Handle(letters, admin(a.handleList)).Methods(http.MethodGet)
	post(letters+"/redrive", admin(a.handleRedriveAll))
	r.Handle(letters+"/{deadLetterId}", admin(a.handleFind)).Methods(http.MethodGet)
	post(letters+"/{deadLetterId}/redrive", admin(a.handleRedrive))
	post(letters+"/{deadLetterId}/discard", admin(a.handleDiscard))
}

// receive archives the messages of a queue's dead-letter queue.
func (a Archive) receive(queue string) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			return messaging.ErrMalformed.Because(err)
		}
		if err := a.archive(r.Context(), queue, readMessage(body)); err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, map[string]bool{"archived": true})
	}
}

func (a Archive) handleSweep(w http.ResponseWriter, r *http.Request) error {
	open, alerted, err := a.sweep(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]int{"open": open, "alerted": alerted})
}

// letterJSON is a dead letter in an answer.
type letterJSON struct {
	ID        uuid.UUID  `json:"deadLetterId"`
	Queue     string     `json:"queue"`
	EventID   string     `json:"eventId"`
	EventType string     `json:"eventType"`
	Reason    string     `json:"reason"`
	State     State      `json:"state"`
	Times     int        `json:"times"`
	FirstSeen time.Time  `json:"firstSeen"`
	LastSeen  time.Time  `json:"lastSeen"`
	HandledAt *time.Time `json:"handledAt,omitempty"`
	Body      string     `json:"body,omitempty"`
}

func (a Archive) handleList(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	state := State(r.URL.Query().Get("state"))
	if r.URL.Query().Has("state") && state != Open && state != Redriven && state != Discarded {
		return problem.Field("state", "state must be OPEN, REDRIVEN or DISCARDED")
	}
	found, err := a.list(r.Context(), state, page)
	if err != nil {
		return err
	}
	var out struct {
		DeadLetters []letterJSON `json:"deadLetters"`
		NextCursor  string       `json:"nextCursor,omitempty"`
	}
	out.DeadLetters, out.NextCursor = paging.Cut(page, found, func(l letter) (time.Time, uuid.UUID) {
		return l.FirstSeen, l.ID
	}, func(l letter) letterJSON { return letterJSON(l) })
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a Archive) handleFind(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	found, err := a.find(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, letterJSON(found))
}

func (a Archive) handleRedrive(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	ctx := r.Context()
	if err := a.redrive(ctx, id); err != nil {
		return err
	}
	slog.InfoContext(ctx, "dead letter redriven", "deadLetterId", id, "userId", identity.CurrentUser(ctx).ID)
	return a.handleFind(w, r)
}

func (a Archive) handleDiscard(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	ctx := r.Context()
	if err := a.discard(ctx, id); err != nil {
		return err
	}
	slog.InfoContext(ctx, "dead letter discarded", "deadLetterId", id, "userId", identity.CurrentUser(ctx).ID)
	return a.handleFind(w, r)
}

func (a Archive) handleRedriveAll(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	redriven, failed, err := a.redriveAll(ctx)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "dead letters redriven", "redriven", redriven, "failed", failed,
		"userId", identity.CurrentUser(ctx).ID)
	return web.WriteJSON(w, http.StatusOK, map[string]int{"redriven": redriven, "failed": failed})
}
