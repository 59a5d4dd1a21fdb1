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
	// workers is the number of concurrent attempts of a replica.
	workers = 5
	// pollInterval is how often a worker polls without being woken. It finds the notifications that are due again and
	// those that another replica stored or left.
	pollInterval = 2 * time.Second

	// An attempt fits into its lease: workTime for the lookups and all attempts of the sidecar to call email-service, and
	// settleTime to store the outcome.
	workTime   = 40 * time.Second
	settleTime = 4 * time.Second
	lease      = workTime + settleTime + time.Second
)

// Config configures a Courier.
type Config struct {
	PublicURL  string // the start of the links in mails
	Operations string // the address of operations
}

// Courier sends notifications. Its methods may be called concurrently.
type Courier struct {
	store    *store.Store
	services sidecar.Sender
	config   Config
	wakeups  chan struct{} // holds at most one signal, which wakes a worker of Run before its next poll
}

// New returns a Courier that calls the other services through services.
func New(s *store.Store, services sidecar.Sender, config Config) *Courier {
	return &Courier{store: s, services: services, config: config, wakeups: make(chan struct{}, 1)}
}

// Run sends due notifications until ctx is done. It starts when it is woken, and polls every 2 s.
func (c *Courier) Run(ctx context.Context) error {
	var g errgroup.Group
	for range workers {
		g.Go(func() error {
			for {
				if err := errors.Join(c.QueueAnnouncements(ctx), c.DeliverDue(ctx)); err != nil && ctx.Err() == nil {
					slog.ErrorContext(ctx, "deliver due notifications failed", "error", err.Error())
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-c.wakeups:
				case <-time.After(pollInterval):
				}
			}
		})
	}
	return g.Wait()
}

// wake wakes one worker of Run. It does nothing if a signal is pending already.
func (c *Courier) wake() {
	select {
	case c.wakeups <- struct{}{}:
	default:
	}
}

// DeliverDue makes one attempt at each due notification, one after the other. It returns when none is due, or with the
// error of a lease. The failure of an attempt is not an error.
func (c *Courier) DeliverDue(ctx context.Context) error {
	for {
		n, found, err := c.store.LeaseDue(ctx, lease)
		if err != nil || !found {
			return err
		}
		c.wake() // another worker looks for more
		c.deliver(ctx, n)
	}
}

// deliver makes the attempt at n that the lease began, and settles n.
func (c *Courier) deliver(ctx context.Context, n notification.Notification) {
	ctx, span := telemetry.Resume(ctx, n.Trace, "send notification")
	work, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	err := errors.New("every attempt was interrupted")
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
		log.ErrorContext(ctx, "notification failed permanently", "code", n.ErrorCode, "error", err.Error())
	case notification.Pending:
		log.WarnContext(ctx, "send notification failed", "code", n.ErrorCode, "error", err.Error())
	}
	// The outcome is stored also if the process is stopping.
	settling, cancelSettling := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancelSettling()
	if err := c.store.Settle(settling, n); err != nil {
		// Another attempt begins when the lease expires. email-service does not send the mail again.
		log.ErrorContext(ctx, "settle notification failed", "error", err.Error())
	}
}

// send composes the mail of n and passes it to email-service.
func (c *Courier) send(ctx context.Context, n notification.Notification) error {
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
	_, err = sidecar.Call(ctx, c.services, calls.SendMail, m)
	switch problem.KindOf(err) {
	case problem.Invalid, problem.TooLarge, problem.Unprocessable:
		return fmt.Errorf("%w: %w", notification.ErrRefused, err)
	default:
		return err
	}
}
