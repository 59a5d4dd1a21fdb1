package audit

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Services with a database.
const (
	authService         = "auth-service"
	eventService        = "event-service"
	ticketService       = "ticket-service"
	paymentService      = "payment-service"
	notificationService = "notification-service"
	analyticsService    = "analytics-service"
)

// Services lists the services whose databases an audit reads, in the order of reading. As far as possible, the
// consumers of an event come before its publisher.
var Services = []string{
	notificationService, analyticsService, ticketService, paymentService, eventService, authService,
}

// read reads all sources. Each database is read in one repeatable-read transaction.
func (s Sources) read(ctx context.Context) (*snapshot, error) {
	all := &snapshot{
		messages: map[string]messages{}, refusals: map[uuid.UUID]string{}, subscriptions: s.Subscriptions,
	}
	readOwn := map[string]func(context.Context, pgx.Tx) error{
		ticketService: all.readTickets, paymentService: all.readPayments,
		notificationService: all.readNotifications, analyticsService: all.readAnalytics,
	}
	consistent := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	for _, service := range Services {
		pool := s.Databases[service]
		if pool == nil {
			return nil, fmt.Errorf("no database of %s", service)
		}
		err := pgx.BeginTxFunc(ctx, pool, consistent, func(tx pgx.Tx) error {
			if read := readOwn[service]; read != nil {
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
		all.chargesRead = true
		var answer struct{ Charges []charge }
		if err := ask(ctx, http.MethodGet, s.Stripe+"/_charges", "", "", &answer); err != nil {
			return nil, fmt.Errorf("read the charges: %w", err)
		}
		all.charges = answer.Charges
	}
	if s.AWS != "" {
		var err error
		if all.queues, err = readQueues(ctx, s.AWS); err != nil {
			return nil, fmt.Errorf("read the queues: %w", err)
		}
	}
	return all, nil
}

// collect returns the rows of a query, whose columns are the fields of T in the same order.
func collect[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

func (s *snapshot) readTickets(ctx context.Context, tx pgx.Tx) (err error) {
	if s.ticketTypes, err = collect[ticketType](ctx, tx, `
		SELECT y.id, y.event_id, y.name, y.capacity, y.sold, y.held,
		       (SELECT count(*) FROM tickets t WHERE t.ticket_type_id = y.id AND t.status <> 'CANCELLED'),
		       (SELECT coalesce(sum(l.quantity), 0)
		        FROM reservation_lines l JOIN reservations r ON r.id = l.reservation_id
		        WHERE l.ticket_type_id = y.id AND r.status = 'ACTIVE')
		FROM ticket_types y ORDER BY y.event_id, y.name`); err != nil {
		return err
	}
	if s.active, err = collect[reservation](ctx, tx, `
		SELECT id, now() - expires_at FROM reservations WHERE status = 'ACTIVE' ORDER BY expires_at`); err != nil {
		return err
	}
	if s.reservationCounts, err = collect[statusCount](ctx, tx, `
		SELECT status, count(*) FROM reservations GROUP BY status ORDER BY status`); err != nil {
		return err
	}
	if s.tickets, err = collect[ticket](ctx, tx, `
		SELECT tickets.id, ticket_type_id, order_id, event_id, status, coalesce(suspension, ''),
		       coalesce(cancelled_by, ''), coalesce(refund_key, ''), checked_in_at IS NOT NULL,
		       now() - greatest(created_at, checked_in_at, cancelled_at,
		           (SELECT max(undone_at) FROM undone_check_ins WHERE ticket_id = tickets.id))
		FROM tickets LEFT JOIN orders ON orders.id = order_id ORDER BY tickets.id`); err != nil {
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
	if err := s.readRules(ctx, tx); err != nil {
		return err
	}
	s.batches, err = collect[batch](ctx, tx, `
		SELECT event_id, 'its tickets are being cancelled', now() - started_at
		FROM event_cancellations WHERE finished_at IS NULL
		UNION ALL
		SELECT id, 'is cancelled and still has valid tickets', now() - updated_at FROM events
		WHERE status = 'CANCELLED' AND EXISTS (SELECT FROM tickets WHERE event_id = events.id AND status = 'ACTIVE')
		ORDER BY 1`)
	return err
}

func (s *snapshot) readPayments(ctx context.Context, tx pgx.Tx) (err error) {
	if s.orders, err = collect[order](ctx, tx, `
		SELECT id, event_id, number, status, step, coalesce(total_minor, 0), coalesce(currency, ''),
		       refunding_minor, refunded_minor,
		       coalesce(transaction_id, ''), coalesce(dispute, ''), disputed_minor, action_client_secret IS NOT NULL,
		       coalesce(now() - charge_since, interval '0'),
		       now() - greatest(created_at, (SELECT max(timestamp) FROM saga_events WHERE saga_id = orders.id))
		FROM orders ORDER BY number`); err != nil {
		return err
	}
	if s.items, err = collect[item](ctx, tx, `
		SELECT order_id, ticket_type_id, quantity, coalesce(unit_price_minor, 0) FROM order_items`); err != nil {
		return err
	}
	if s.refunds, err = collect[refund](ctx, tx, `
		SELECT id, order_id, whole, ticket_ids, keep_used, amount_minor, status, step, failure_code,
		       coalesce(retry_of, '00000000-0000-0000-0000-000000000000'), alerted_at IS NOT NULL, now() - created_at
		FROM refunds ORDER BY created_at, id`); err != nil {
		return err
	}
	refunding, err := collect[batch](ctx, tx, `
		SELECT event_id, 'its orders are being refunded', now() - heard_at
		FROM event_refunds WHERE NOT done ORDER BY event_id`)
	s.batches = append(s.batches, refunding...)
	return err
}

func (s *snapshot) readNotifications(ctx context.Context, tx pgx.Tx) (err error) {
	s.notifications, err = collect[notification](ctx, tx, `
		SELECT id, event_id, user_id, coalesce(order_id, '00000000-0000-0000-0000-000000000000'),
		       kind, status, coalesce(error_code, ''), coalesce(facts ->> 'refundKey', ''),
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

func (s *snapshot) readAnalytics(ctx context.Context, tx pgx.Tx) (err error) {
	s.sales, err = collect[eventSales](ctx, tx, `
		SELECT s.event_id, s.orders_completed, s.tickets_generated, s.tickets_cancelled,
		       coalesce(sum(t.tickets), 0)::bigint, coalesce(sum(t.checked_in), 0)::bigint,
		       coalesce(sum(t.revenue_minor), 0)::bigint, s.refunded_minor, s.disputed_minor
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
		       coalesce(payload ->> 'cancelledBy', ''), coalesce(payload ->> 'refundKey', ''),
		       payload ->> 'postponedFrom' IS NOT NULL,
		       coalesce(payload ->> 'status' = 'PUBLISHED' AND payload ->> 'previous' IS NOT NULL AND
		                ROW (payload ->> 'eventName', payload ->> 'eventDate', payload ->> 'endDate', payload ->> 'venueName',
		                     payload ->> 'venueAddress')
		                IS DISTINCT FROM
		                ROW (payload #>> '{previous,eventName}', payload #>> '{previous,eventDate}',
		                     payload #>> '{previous,endDate}', payload #>> '{previous,venueName}',
		                     payload #>> '{previous,venueAddress}'), false),
		       coalesce((payload ->> 'organizer')::boolean, false),
		       published_at IS NOT NULL, coalesce(published_at, replayed_at, created_at),
		       now() - coalesce(published_at, replayed_at, created_at)
		FROM outbox, LATERAL (
			SELECT cloud_event #> '{data,payload}' AS payload, uuid '00000000-0000-0000-0000-000000000000' AS none) p
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
	if m.unknown, err = collect[unknown](ctx, tx, `
		SELECT event_id, type, now() - received_at FROM unknown_events ORDER BY received_at`); err != nil {
		return m, err
	}
	if m.replays, err = collect[replay](ctx, tx, `
		SELECT id, topic, now() - created_at FROM replays WHERE completed_at IS NULL ORDER BY created_at`); err != nil {
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
	var archives bool // false for a service without consumers, which has no table of dead letters
	err = tx.QueryRow(ctx, `SELECT to_regclass('dead_letters') IS NOT NULL`).Scan(&archives)
	if err != nil || !archives {
		return m, err
	}
	m.letters, err = collect[letter](ctx, tx, `
		SELECT id::text, coalesce(event_id::text, ''), coalesce(type, ''), state FROM dead_letters ORDER BY id`)
	return m, err
}
