// Package courier turns what happened into an e-mail to the person it matters to, once.
//
// Each message is acted on under a claim (package claim), and what became of it is written down
// (package store). In this order, for a process may die after each step:
//
//  1. Take the claim. Dying here leaves a lease; the message comes again after it.
//  2. Begin the notification. If it is settled already, the process died between 4 and 5: only 5 is left.
//  3. Look up what the mail says, and hand it to email-service under the message's own id.
//  4. Settle the notification.
//  5. Finish the claim.
//
// What remains is dying after email-service took the mail and before 4: the mail then goes out again,
// with the same Message-ID, by which mail programs can tell. SMTP has no way to close that gap, and a
// ticket that comes twice is better than one that never does.
//
// A person may ask for a notification again. That is another one of the same facts, with a message id of
// its own, which goes through the same steps; only that what brings it here is not a queue but the store,
// again and again until it is settled. Of the tickets that are cancelled with an event, many events make
// one notification, which is written down by the first of them and then goes the same way; a postponement is
// one event of which many people hear, page by page of ticket-service's list of them.
package courier

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

// The queue shows a message again 30 s after it was received. In that time fit the lease, within the
// lease the work, and between their ends the writing down of what became of it.
const (
	// Lease is how long the claims given to a Courier must last.
	Lease      = 25 * time.Second
	workTime   = 20 * time.Second
	settleTime = 4 * time.Second
)

// Services are the other services, reached through the sidecar.
type Services interface {
	Call(ctx context.Context, app, method, path string, in, out any) error
	Fetch(ctx context.Context, app, path string) ([]byte, error)
}

// Patience is for how long a delivery should wait for email-service. An outage of seconds opens the sidecar's breaker
// for a minute, and three deliveries 30 s apart that each give up at once are all within that minute: good messages
// would be dead letters. The third one's wait ends after it.
const Patience = 12 * time.Second

// Courier sends notifications.
type Courier struct {
	Claims    claim.Claims
	Store     store.Store
	Services  Services
	PublicURL string        // where people reach us; what the links in mails begin with
	Patience  time.Duration // how long a queue's delivery waits for email-service; not at all when zero
	// Operations is the address of those who look after the system.
	Operations string
}

// deliver tells n with the mail that compose makes of it. It returns nil once there is nothing left to do,
// claim.ErrHeld while another worker is at it, and any other error if it has to be tried again.
func (c Courier) deliver(ctx context.Context, n notification.Notification) error {
	// Counted from before the lease begins, so that it ends before the lease does.
	work, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	held, err := c.Claims.Take(work, n.MessageID)
	if errors.Is(err, claim.ErrDone) {
		slog.InfoContext(ctx, "notification was settled before", "eventId", n.EventID)
		if n.Queued { // and is due, so that it was sent without being settled
			return c.Store.Settle(work, n.After(nil))
		}
		return nil
	}
	if err != nil {
		return err
	}

	n, err = c.Store.Begin(work, n)
	attempted := err == nil && !n.Settled()
	if attempted {
		err = c.send(work, n)
		n = n.After(err)
	}

	// This has to happen even if the work ran out of time, or nobody waits for its end any more.
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancelAfter()
	var settleErr error
	if attempted {
		// Half of the time: the claim is a record, too.
		settling, cancelSettling := context.WithTimeout(after, settleTime/2)
		settleErr = insist(settling, func() error { return c.Store.Settle(settling, n) })
		cancelSettling()
	}
	// A claim that is done says that a mail is out. That one was given up has to be known to the database.
	if !n.Settled() || n.Status == notification.Failed && settleErr != nil {
		return errors.Join(err, settleErr, held.Release(after))
	}
	if n.Status == notification.Failed {
		slog.WarnContext(ctx, "notification given up", "eventId", n.EventID, "kind", n.Kind, "code", n.ErrorCode)
	}
	// The mail is out, or never will be: an error now would only bring it a second time. Either record
	// alone keeps later deliveries from that.
	doneErr := insist(after, func() error { return held.Done(after) })
	if settleErr != nil { // the database may be back by now
		settleErr = insist(after, func() error { return c.Store.Settle(after, n) })
	}
	if err := errors.Join(settleErr, doneErr); err != nil {
		slog.ErrorContext(ctx, "notification settled, but not fully recorded", "eventId", n.EventID, "error", err.Error())
	}
	return nil
}

// insist writes something down, again and again as long as ctx lasts: a database that died is back in a moment, and the
// mail that was sent meanwhile is not to stay pending for ever.
func insist(ctx context.Context, write func() error) error {
	for {
		err := write()
		if err == nil || errors.Is(err, store.ErrSettled) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c Courier) send(ctx context.Context, n notification.Notification) error {
	mail, err := c.compose(ctx, n)
	if err != nil {
		return err
	}
	m := message{
		MessageID:   n.MessageID,
		To:          recipient{Name: mail.To.Name, Address: mail.To.Address},
		Subject:     mail.Subject,
		Text:        mail.Text,
		HTML:        mail.HTML,
		Attachments: make([]attachment, len(mail.Attachments)),
	}
	for i, a := range mail.Attachments {
		m.Attachments[i] = attachment(a)
	}
	enough := time.Now().Add(c.Patience)
	for {
		err := c.Services.Call(ctx, emailService, http.MethodPost, "/api/email/internal/messages", m, nil)
		// What is queued in the store comes again by itself, and needs no patience.
		if !errors.Is(err, sidecar.ErrUnavailable) || n.Queued || !time.Now().Before(enough) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(time.Second, c.Patience)):
		}
	}
}
