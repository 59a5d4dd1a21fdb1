package audit

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// readRules reads the check-ins and sales that ticket-service should not have allowed. A rule applies from an hour
// after the last change of the event, because the copy of the event may have been out of date until then, and from the
// last change of the terms of sale.
func (s *snapshot) readRules(ctx context.Context, tx pgx.Tx) (err error) {
	if s.checkIns, err = collect[violation](ctx, tx, `
		WITH check_ins AS (
			SELECT id, event_id, checked_in_at, NULL::timestamptz AS undone_at
			FROM tickets WHERE checked_in_at IS NOT NULL
			UNION ALL
			SELECT t.id, t.event_id, u.checked_in_at, u.undone_at
			FROM undone_check_ins u JOIN tickets t ON t.id = u.ticket_id)
		SELECT c.id, format('was checked in at %s, and its event is from %s to %s',
		                    c.checked_in_at, e.event_date, coalesce(e.end_date::text, 'an unknown time'))
		FROM check_ins c JOIN events e ON e.id = c.event_id
		WHERE c.checked_in_at > e.updated_at + interval '1 hour'
		    AND (c.checked_in_at < e.event_date - interval '6 hours'
		         OR c.checked_in_at >= coalesce(e.end_date + interval '6 hours', e.event_date + interval '24 hours'))
		UNION ALL
		SELECT c.id, format('was checked in at %s and again at %s, and the first check-in was undone at %s',
		                    c.checked_in_at, next.checked_in_at, coalesce(c.undone_at::text, 'no time'))
		FROM check_ins c JOIN check_ins next ON next.id = c.id AND next.checked_in_at > c.checked_in_at
		WHERE c.undone_at IS NULL OR c.undone_at > next.checked_in_at
		UNION ALL
		SELECT id, format('was checked in at %s, which was undone before, at %s', checked_in_at, undone_at)
		FROM check_ins WHERE undone_at < checked_in_at
		ORDER BY 1`); err != nil {
		return err
	}
	// Tickets that were issued after their hold had expired do not count: their buyer had paid for them before.
	s.terms, err = collect[violation](ctx, tx, `
		WITH taken AS (
			SELECT r.user_id, l.ticket_type_id, l.quantity, r.created_at
			FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id WHERE r.status = 'ACTIVE'
			UNION ALL
			SELECT r.user_id, t.ticket_type_id, 1, r.created_at
			FROM tickets t JOIN reservations r ON r.id = t.reservation_id
			WHERE t.status <> 'CANCELLED' AND r.ended_at <= r.expires_at)
		SELECT y.id, format('user %s has %s tickets, and the limit per person is %s',
		                    t.user_id, sum(t.quantity), y.max_per_person)
		FROM taken t JOIN ticket_types y ON y.id = t.ticket_type_id
		GROUP BY y.id, t.user_id
		HAVING sum(t.quantity) > y.max_per_person AND max(t.created_at) > y.terms_since
		UNION ALL
		SELECT r.id, format('took tickets of type %s at %s, and their sale ended at %s', y.id, r.created_at, sale.ends_at)
		FROM reservations r
		    JOIN reservation_lines l ON l.reservation_id = r.id
		    JOIN ticket_types y ON y.id = l.ticket_type_id
		    JOIN events e ON e.id = y.event_id,
		    LATERAL (SELECT least(coalesce(y.sales_end, e.event_date), e.end_date) AS ends_at) sale
		WHERE r.created_at >= sale.ends_at
		    AND r.created_at > y.terms_since AND r.created_at > e.updated_at + interval '1 hour'
		ORDER BY 1`)
	return err
}

// checkRules reports what readRules has found.
func (r *Report) checkRules(s *snapshot) {
	for _, v := range s.checkIns {
		r.addFinding("check-ins", v.ID, 0, 0, "%s", v.Detail)
	}
	for _, v := range s.terms {
		r.addFinding("terms of sale", v.ID, 0, 0, "%s", v.Detail)
	}
}
