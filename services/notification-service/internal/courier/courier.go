// Package courier turns what happened into an e-mail to the person it matters to, once.
//
// What an event has people told is written down in the transaction that records the event (package store), one
// notification for each person. From then on the queue has no part in it: a courier of any replica takes a
// notification that is due, under a lease, in this order, for a process may die after each step:
//
//  1. Begin the attempt: count it and take the lease. Dying later lets another one begin when the lease ends.
//  2. Look up what the mail says, and hand it to email-service under the message's own id.
//  3. Settle the notification: it was sent, it is given up, or it is due again after a pause.
//
// So a notification outlasts what is away, be it for hours: it is given up after a day of attempts, or once
// email-service says that the same mail would always be refused.
//
// That a mail goes out once is email-service's to see to, where the effect is: it has a claim on the message's id
// in the Dapr state store, and answers a mail that it sent before without sending it. An attempt that died
// between 2 and 3, or lost its lease, is therefore simply made again. What remains is email-service dying in the
// instant between the mail server's answer and the record of it: the mail then goes out again, with the same
// Message-ID.
//
// A person may ask for a notification again. That is another one of the same facts, with a message id of its
// own. Of the tickets that are cancelled with an event, many events make one notification, which is written down
// by the first of them; a postponement is one event of which many people hear, page by page of ticket-service's
// list of them.
package courier

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

const (
	// senders is how many notifications a replica attempts at a time.
	senders = 5
	// poll is how often each looks without being woken: for what is due again, and what another replica left.
	poll = 2 * time.Second
	// An attempt fits into its lease: the lookups, every attempt of the sidecar's at email-service, and then the
	// writing down of what became of it.
	workTime   = 40 * time.Second
	settleTime = 4 * time.Second
	lease      = workTime + settleTime + time.Second
)

// Courier sends notifications.
type Courier struct {
	Store     store.Store
	Services  sidecar.Sender
	PublicURL string // where people reach us; what the links in mails begin with
	// Operations is the address of those who look after the system.
	Operations string
	// Woken lets Run send at once what was just written down. It holds one signal; without it Run finds out
	// when it looks.
	Woken chan struct{}
}

// Run sends what is due until ctx ends: as soon as it is woken, and looking every now and then.
func (c Courier) Run(ctx context.Context) error {
	var g errgroup.Group
	for range senders {
		g.Go(func() error {
			for {
				if err := errors.Join(c.QueueAnnouncements(ctx), c.DeliverDue(ctx)); err != nil && ctx.Err() == nil {
					slog.ErrorContext(ctx, "notifications that are due not looked for, trying again", "error", err.Error())
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-c.Woken:
				case <-time.After(poll):
				}
			}
		})
	}
	return g.Wait()
}

func (c Courier) wake() {
	select {
	case c.Woken <- struct{}{}:
	default: // nobody listens, or somebody will look anyway
	}
}

// DeliverDue attempts what is due, one after the other, until nothing is.
func (c Courier) DeliverDue(ctx context.Context) error {
	for {
		n, found, err := c.Store.Begin(ctx, lease)
		if err != nil || !found {
			return err
		}
		c.wake() // there may be more, for another sender
		c.deliver(ctx, n)
	}
}

// deliver makes the attempt at n that has begun.
func (c Courier) deliver(ctx context.Context, n notification.Notification) {
	ctx, span := telemetry.Resume(ctx, n.Trace, "send notification")
	work, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	err := errors.New("no attempt at it came to its end")
	if n.Attempts <= notification.MaxAttempts {
		err = c.send(work, n)
	}
	defer telemetry.End(span, err)
	n = n.After(err)

	log := slog.With("notificationId", n.ID, "eventId", n.EventID, "kind", n.Kind, "attempts", n.Attempts)
	switch n.Status {
	case notification.Sent:
		log.InfoContext(ctx, "notification sent")
	case notification.Failed:
		log.ErrorContext(ctx, "notification given up", "code", n.ErrorCode, "error", err.Error())
	case notification.Pending:
		log.WarnContext(ctx, "notification not sent yet", "code", n.ErrorCode, "error", err.Error())
	}
	// Also when the process is being stopped.
	settling, cancelSettling := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancelSettling()
	if err := c.Store.Settle(settling, n); err != nil { // it is attempted again, and not sent again
		log.ErrorContext(ctx, "what became of a notification not recorded", "error", err.Error())
	}
}

func (c Courier) send(ctx context.Context, n notification.Notification) error {
	mail, err := c.compose(ctx, n)
	if err != nil {
		return err
	}
	m := calls.SendMailRequest{
		MessageID:   n.MessageID.String(),
		To:          calls.MailRecipient{Name: mail.To.Name, Address: mail.To.Address},
		Subject:     mail.Subject,
		Text:        mail.Text,
		HTML:        mail.HTML,
		Attachments: make([]calls.MailAttachment, len(mail.Attachments)),
	}
	for i, a := range mail.Attachments {
		m.Attachments[i] = calls.MailAttachment{
			Filename: a.Filename, ContentType: a.ContentType, Content: base64.StdEncoding.EncodeToString(a.Content),
		}
	}
	_, err = sidecar.Call(ctx, c.Services, calls.SendMail, m)
	switch problem.KindOf(err) {
	case problem.Invalid, problem.TooLarge, problem.Unprocessable:
		return fmt.Errorf("%w: %w", notification.ErrRefused, err)
	default:
		return err
	}
}
