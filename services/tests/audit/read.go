package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Services with a database.
const (
	auth          = "auth-service"
	event         = "event-service"
	tickets       = "ticket-service"
	payments      = "payment-service"
	notifications = "notification-service"
	analytics     = "analytics-service"
)

// Services are those whose databases an audit reads, in the order in which it does. Whoever acts on events comes
// before whoever writes them down, as far as that goes.
var Services = []string{notifications, analytics, tickets, payments, event, auth}

// seen is all that an audit read. Ages are by the clock of the database that the row is in.
type seen struct {
	types    []ticketType
	held     []reservation
	ended    []statusCount
	tickets  []ticket
	refusals map[uuid.UUID]string // by order
	stalled  []stalled

	orders  []order
	items   []item
	refunds []refund

	charges []charge
	stripe  bool // whether charges were asked for

	told      []notification
	announced map[uuid.UUID]bool // by event, to all who hold tickets: whether each of them is known
	sales     []eventSales

	messages map[string]messages // by service
	backlog  []queue

	subscriptions []Subscription
}

type ticketType struct {
	ID, EventID          uuid.UUID
	Name                 string
	Capacity, Sold, Held int
	Tickets, Holds       int // counted anew
}

type reservation struct {
	ID      uuid.UUID
	Overdue time.Duration
}

type statusCount struct {
	Status string
	Count  int
}

type ticket struct {
	ID, TypeID, OrderID, EventID uuid.UUID
	Status                       string
	CancelledBy, RefundKey       string
	Age                          time.Duration // since it was last issued, used or cancelled
}

func (t ticket) void() bool { return t.Status == "CANCELLED" }

type order struct {
	ID, EventID         uuid.UUID
	Number              string
	Status, Step        string
	Total               int64
	Currency            string
	Refunding, Refunded int64
	TransactionID       string
	Age                 time.Duration // since something happened to it
}

func (o order) paid() bool { return o.Status == "COMPLETED" || o.Status == "REFUNDED" }

type item struct {
	OrderID, TypeID uuid.UUID
	Quantity        int
	UnitPrice       int64
}

type refund struct {
	ID, OrderID  uuid.UUID
	Whole        bool
	TicketIDs    []uuid.UUID
	Amount       int64
	Status, Step string
	Age          time.Duration // since it was asked for
}

// key is the refund's name at ticket-service and at the card processor.
func (r refund) key() string { return "refund-" + r.ID.String() }

// stalled is something that goes on in batches until it is finished.
type stalled struct {
	ID   uuid.UUID
	What string
	Age  time.Duration
}

type charge struct {
	ID             string            `json:"id"`
	AmountReceived int64             `json:"amountReceived"`
	AmountRefunded int64             `json:"amountRefunded"`
	Currency       string            `json:"currency"`
	Metadata       map[string]string `json:"metadata"`
	Created        time.Time         `json:"created"`
}

func (c charge) String() string { return c.ID }

type notification struct {
	ID, EventID, UserID, OrderID uuid.UUID
	Kind, Status, ErrorCode      string
	Resend                       bool
	Age                          time.Duration
}

func (n notification) fact() fact { return newFact(n.Kind, n.UserID, n.OrderID, n.EventID) }

type eventSales struct {
	EventID                               uuid.UUID
	Completed, Generated, Cancelled, Sold int
	Revenue, Refunded                     int64
}

// messages are the tables that every service's events go through.
type messages struct {
	outbox  []message
	inbox   map[uuid.UUID]bool
	unknown []unknown
	letters []letter
	purged  map[string]time.Time // by table: up to when rows may be gone
}

type message struct {
	ID          uuid.UUID
	Topic, Type string
	// As far as the payload has them.
	OrderID, UserID, FromUserID, ToUserID uuid.UUID
	CancelledBy                           string
	Postponed                             bool

	Published bool
	Since     time.Time // it was published, or else written
	Age       time.Duration
}

type unknown struct {
	ID, Type string
	Age      time.Duration
}

func (u unknown) String() string { return u.ID }

type letter struct {
	ID, EventID, Type, State string
}

func (l letter) String() string { return l.ID }

type queue struct {
	Name                       string
	Visible, InFlight, Delayed int
}

func (q queue) String() string { return q.Name }

// clocks is how far the clocks of a service and of its database may be apart.
const clocks = time.Hour

// forgotten reports whether the event with this id may have been purged from the outbox that it was in. When it was written,
// the id says.
func (s *seen) forgotten(id uuid.UUID) bool {
	written := time.Unix(id.Time().UnixTime())
	for _, m := range s.messages {
		if id.Version() == 7 && written.Before(m.purged["outbox"].Add(clocks)) {
			return true
		}
	}
	return false
}

func (s Sources) read(ctx context.Context) (*seen, error) {
	all := &seen{messages: map[string]messages{}, refusals: map[uuid.UUID]string{}, subscriptions: s.Subscriptions}
	own := map[string]func(context.Context, pgx.Tx) error{
		tickets: all.readTickets, payments: all.readPayments, notifications: all.readNotifications, analytics: all.readAnalytics,
	}
	for _, service := range Services {
		pool := s.Databases[service]
		if pool == nil {
			return nil, fmt.Errorf("no database of %s", service)
		}
		// One moment for all of a database.
		err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if read := own[service]; read != nil {
				if err := read(ctx, tx); err != nil {
					return err
				}
			}
			m, err := readMessages(ctx, tx)
			all.messages[service] = m
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the database of %s: %w", service, err)
		}
	}
	if s.Stripe != "" {
		all.stripe = true
		var answer struct{ Charges []charge }
		if err := ask(ctx, http.MethodGet, s.Stripe+"/_charges", "", "", &answer); err != nil {
			return nil, fmt.Errorf("read the charges: %w", err)
		}
		all.charges = answer.Charges
	}
	if s.AWS != "" {
		var err error
		if all.backlog, err = readQueues(ctx, s.AWS); err != nil {
			return nil, fmt.Errorf("read the queues: %w", err)
		}
	}
	return all, nil
}

// collect gives the rows of a query, whose columns are T's fields in their order.
func collect[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

func (s *seen) readTickets(ctx context.Context, tx pgx.Tx) (err error) {
	if s.types, err = collect[ticketType](ctx, tx, `
		SELECT y.id, y.event_id, y.name, y.capacity, y.sold, y.held,
		       (SELECT count(*) FROM tickets t WHERE t.ticket_type_id = y.id AND t.status <> 'CANCELLED'),
		       (SELECT coalesce(sum(l.quantity), 0) FROM reservation_lines l JOIN reservations r ON r.id = l.reservation_id
		        WHERE l.ticket_type_id = y.id AND r.status = 'ACTIVE')
		FROM ticket_types y ORDER BY y.event_id, y.name`); err != nil {
		return err
	}
	if s.held, err = collect[reservation](ctx, tx, `
		SELECT id, now() - expires_at FROM reservations WHERE status = 'ACTIVE' ORDER BY expires_at`); err != nil {
		return err
	}
	if s.ended, err = collect[statusCount](ctx, tx, `SELECT status, count(*) FROM reservations GROUP BY status ORDER BY status`); err != nil {
		return err
	}
	if s.tickets, err = collect[ticket](ctx, tx, `
		SELECT id, ticket_type_id, order_id, event_id, status, coalesce(cancelled_by, ''), coalesce(refund_key, ''),
		       now() - greatest(created_at, checked_in_at, cancelled_at)
		FROM tickets ORDER BY id`); err != nil {
		return err
	}
	refused, err := collect[struct {
		Order   uuid.UUID
		Refusal string
	}](ctx, tx, `SELECT id, refusal FROM orders WHERE refusal IS NOT NULL`)
	if err != nil {
		return err
	}
	for _, r := range refused {
		s.refusals[r.Order] = r.Refusal
	}
	s.stalled, err = collect[stalled](ctx, tx, `
		SELECT event_id, 'its tickets are being cancelled', now() - started_at FROM event_cancellations WHERE finished_at IS NULL
		UNION ALL
		SELECT id, 'is cancelled, and tickets of it still let people in', now() - updated_at FROM events
		WHERE status = 'CANCELLED' AND EXISTS (SELECT FROM tickets WHERE event_id = events.id AND status = 'ACTIVE')
		ORDER BY 1`)
	return err
}

func (s *seen) readPayments(ctx context.Context, tx pgx.Tx) (err error) {
	if s.orders, err = collect[order](ctx, tx, `
		SELECT id, event_id, number, status, step, coalesce(total_minor, 0), coalesce(currency, ''), refunding_minor, refunded_minor,
		       coalesce(transaction_id, ''),
		       now() - greatest(created_at, (SELECT max(timestamp) FROM saga_events WHERE saga_id = orders.id))
		FROM orders ORDER BY number`); err != nil {
		return err
	}
	if s.items, err = collect[item](ctx, tx, `SELECT order_id, ticket_type_id, quantity, coalesce(unit_price_minor, 0) FROM order_items`); err != nil {
		return err
	}
	if s.refunds, err = collect[refund](ctx, tx, `
		SELECT id, order_id, whole, ticket_ids, amount_minor, status, step, now() - created_at FROM refunds ORDER BY created_at, id`); err != nil {
		return err
	}
	refunding, err := collect[stalled](ctx, tx, `
		SELECT event_id, 'its orders are being refunded', now() - heard_at FROM event_refunds WHERE NOT done ORDER BY event_id`)
	s.stalled = append(s.stalled, refunding...)
	return err
}

func (s *seen) readNotifications(ctx context.Context, tx pgx.Tx) (err error) {
	s.told, err = collect[notification](ctx, tx, `
		SELECT id, event_id, user_id, coalesce(order_id, '00000000-0000-0000-0000-000000000000'), kind, status, coalesce(error_code, ''),
		       resend_of IS NOT NULL, now() - created_at
		FROM notifications ORDER BY created_at, id`)
	if err != nil {
		return err
	}
	announcements, err := collect[struct {
		ID       uuid.UUID
		Finished bool
	}](ctx, tx, `SELECT id, finished_at IS NOT NULL FROM announcements`)
	s.announced = map[uuid.UUID]bool{}
	for _, a := range announcements {
		s.announced[a.ID] = a.Finished
	}
	return err
}

func (s *seen) readAnalytics(ctx context.Context, tx pgx.Tx) (err error) {
	s.sales, err = collect[eventSales](ctx, tx, `
		SELECT s.event_id, s.orders_completed, s.tickets_generated, s.tickets_cancelled,
		       coalesce(sum(t.tickets), 0)::bigint, coalesce(sum(t.revenue_minor), 0)::bigint, s.refunded_minor
		FROM event_sales s LEFT JOIN ticket_type_sales t ON t.event_id = s.event_id
		GROUP BY s.event_id ORDER BY s.event_id`)
	return err
}

func readMessages(ctx context.Context, tx pgx.Tx) (messages, error) {
	m := messages{inbox: map[uuid.UUID]bool{}, purged: map[string]time.Time{}}
	var err error
	if m.outbox, err = collect[message](ctx, tx, `
		SELECT id, topic, cloud_event ->> 'type',
		       coalesce((payload ->> 'orderId')::uuid, none), coalesce((payload ->> 'userId')::uuid, none),
		       coalesce((payload ->> 'fromUserId')::uuid, none), coalesce((payload ->> 'toUserId')::uuid, none),
		       coalesce(payload ->> 'cancelledBy', ''), payload ->> 'postponedFrom' IS NOT NULL,
		       published_at IS NOT NULL, coalesce(published_at, created_at), now() - coalesce(published_at, created_at)
		FROM outbox, LATERAL (SELECT cloud_event #> '{data,payload}' AS payload, uuid '00000000-0000-0000-0000-000000000000' AS none) p
		ORDER BY position`); err != nil {
		return m, err
	}
	rows, err := tx.Query(ctx, `SELECT event_id FROM inbox`)
	if err != nil {
		return m, err
	}
	processed, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return m, err
	}
	for _, id := range processed {
		m.inbox[id] = true
	}
	if m.unknown, err = collect[unknown](ctx, tx, `SELECT event_id, type, now() - received_at FROM unknown_events ORDER BY received_at`); err != nil {
		return m, err
	}
	purged, err := collect[struct {
		Table  string
		Before time.Time
	}](ctx, tx, `SELECT relation, before FROM purged`)
	if err != nil {
		return m, err
	}
	for _, p := range purged {
		m.purged[p.Table] = p.Before
	}
	var archived bool // a service that consumes nothing has no dead letters
	if err := tx.QueryRow(ctx, `SELECT to_regclass('dead_letters') IS NOT NULL`).Scan(&archived); err != nil || !archived {
		return m, err
	}
	m.letters, err = collect[letter](ctx, tx, `
		SELECT id::text, coalesce(event_id::text, ''), coalesce(type, ''), state FROM dead_letters ORDER BY id`)
	return m, err
}

func readQueues(ctx context.Context, endpoint string) ([]queue, error) {
	var list struct{ QueueUrls []string }
	if err := askSQS(ctx, endpoint, "ListQueues", map[string]any{}, &list); err != nil {
		return nil, err
	}
	slices.Sort(list.QueueUrls)
	var all []queue
	for _, url := range list.QueueUrls {
		var answer struct{ Attributes map[string]string }
		if err := askSQS(ctx, endpoint, "GetQueueAttributes", map[string]any{"QueueUrl": url, "AttributeNames": []string{"All"}}, &answer); err != nil {
			return nil, err
		}
		q := queue{Name: url[strings.LastIndexByte(url, '/')+1:]}
		for name, count := range map[string]*int{"": &q.Visible, "NotVisible": &q.InFlight, "Delayed": &q.Delayed} {
			var err error
			if *count, err = strconv.Atoi(answer.Attributes["ApproximateNumberOfMessages"+name]); err != nil {
				return nil, fmt.Errorf("%s: %w", q.Name, err)
			}
		}
		all = append(all, q)
	}
	return all, nil
}

func askSQS(ctx context.Context, endpoint, action string, request map[string]any, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return ask(ctx, http.MethodPost, endpoint+"/", string(body), "AmazonSQS."+action, answer)
}

var client = &http.Client{Timeout: 15 * time.Second}

// ask makes a request of one of the emulators, which check no signatures.
func ask(ctx context.Context, method, url, body, target string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(url + ": " + res.Status)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}
