package courier

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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
	// sharedWorkers is the number of workers of a replica that send notifications of all classes. In addition, each class
	// has a worker of its own, which is free for it also while all other workers wait for slow calls.
	sharedWorkers = 4
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
	// ChangeDelay is how long an announcement of changes waits for further ones of the same event, which it then contains
	// too. It waits five times as long in all.
	ChangeDelay time.Duration
}

// Courier sends notifications. Its methods may be called concurrently.
type Courier struct {
	store    *store.Store
	services sidecar.Sender
	config   Config

	// Each channel holds at most one signal, which wakes a worker of Run before its next poll: one of the class, one of
	// the shared workers, or the one that queues announcements.
	classWakeups                  map[notification.Class]chan struct{}
	sharedWakeup, announceWakeups chan struct{}

	turns atomic.Uint32 // counts the leases of shared workers; see shares
}

// shares is the order in which a shared worker prefers the classes, one after the other. If all classes have due
// notifications, a class gets the share of the shared workers with which it is in this list.
var shares = []notification.Class{
	notification.Account, notification.Orders, notification.Alert,
	notification.Account, notification.Orders, notification.Bulk,
	notification.Account, notification.Orders,
}

// New returns a Courier that calls the other services through services.
func New(s *store.Store, services sidecar.Sender, config Config) *Courier {
	c := &Courier{
		store: s, services: services, config: config, classWakeups: map[notification.Class]chan struct{}{},
		sharedWakeup: make(chan struct{}, 1), announceWakeups: make(chan struct{}, 1),
	}
	for _, class := range notification.Classes() {
		c.classWakeups[class] = make(chan struct{}, 1)
	}
	return c
}

// Run queues announcements and sends due notifications until ctx is done. Its workers start when they are woken, and
// poll every 2 s.
func (c *Courier) Run(ctx context.Context) error {
	var g errgroup.Group
	worker := func(wakeup chan struct{}, work func(context.Context) error) {
		g.Go(func() error {
			for {
				if err := work(ctx); err != nil && ctx.Err() == nil {
					slog.ErrorContext(ctx, "deliver due notifications failed", "error", err.Error())
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-wakeup:
				case <-time.After(pollInterval):
				}
			}
		})
	}
	worker(c.announceWakeups, c.QueueAnnouncements)
	for class, wakeup := range c.classWakeups {
		worker(wakeup, func(ctx context.Context) error { return c.DeliverDue(ctx, class) })
	}
	for range sharedWorkers {
		worker(c.sharedWakeup, func(ctx context.Context) error { return c.DeliverDue(ctx) })
	}
	return g.Wait()
}

// wake wakes one worker of the class and one shared worker of Run.
func (c *Courier) wake(class notification.Class) {
	signal(c.classWakeups[class])
	signal(c.sharedWakeup)
}

// signal puts a signal into wakeup. It does nothing if one is pending already.
func signal(wakeup chan struct{}) {
	select {
	case wakeup <- struct{}{}:
	default:
	}
}

// DeliverDue makes one attempt at each due notification of the classes, one after the other. Without classes, it sends
// those of all classes, to each of which it gives its share. It returns when none is due, or with the error of a lease.
// The failure of an attempt is not an error.
func (c *Courier) DeliverDue(ctx context.Context, classes ...notification.Class) error {
	for {
		order := classes
		if len(classes) == 0 {
			preferred := shares[int(c.turns.Add(1)-1)%len(shares)]
			order = append([]notification.Class{preferred}, notification.Classes()...)
		}
		n, found, err := c.store.LeaseDue(ctx, lease, order...)
		if err != nil || !found {
			return err
		}
		c.wake(n.Class) // another worker looks for more
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
	case notification.Superseded:
		log.InfoContext(ctx, "notification superseded")
	case notification.Failed:
		log.ErrorContext(ctx, "notification failed permanently", "code", n.ErrorCode, "error", err.Error())
	case notification.Pending:
		if errors.Is(err, notification.ErrInProgress) {
			log.InfoContext(ctx, "mail server has not answered yet", "code", n.ErrorCode)
			break
		}
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
		return notComposed(err)
	}
	m := calls.SendMailRequest{
		MessageID:   n.MessageID.String(),
		To:          calls.MailRecipient{Name: mail.To.Name, Address: mail.To.Address},
		Subject:     mail.Subject,
		Text:        mail.Text,
		HTML:        mail.HTML,
		Bulk:        n.Class == notification.Bulk,
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

// notComposed returns the error of an attempt whose mail was not composed because of err. It wraps
// notification.ErrRefused unless a service is unavailable, because another attempt would end in the same way.
func notComposed(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	switch {
	case !ok: // the facts or an answer have a wrong form
		err = notification.ErrNotComposable.Because(err)
	case p.Kind == problem.Unavailable:
		return err
	}
	return fmt.Errorf("%w: %w", notification.ErrRefused, err)
}
