package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// refundAgain is a refund of the returned ticket besides that of the baseline, which failed. Its parameters are the id,
// the status, and the id of the refund that it repeats.
func refundAgain(refund, status, repeats string) string {
	return `INSERT INTO refunds (id, order_id, whole, ticket_ids, amount_minor, reason, status, step, retry_of, alerted_at)
		VALUES ('` + refund + `', '{returned}', false, '{{ticket3}}', 5000, '', '` + status + `', 'DONE', ` + repeats + `,
			CASE '` + status + `' WHEN 'FAILED' THEN now() END);`
}

func TestFailedRefundIsReportedUntilItIsRepeated(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const failed = `UPDATE refunds SET status = 'FAILED', alerted_at = now() WHERE id = '{refund}';`
	const notRefunded = `UPDATE orders SET status = 'COMPLETED', refunding_minor = 0, refunded_minor = 0
		WHERE id = '{returned}';`
	for _, tt := range []struct {
		name, sql string
		want      []string // ids of the findings about the ticket and its refunds; empty if there are none
	}{
		{"NotRepeated", failed + notRefunded, []string{"{ticket3}", "{refund}"}},
		{"Repeated", failed + refundAgain("{again}", "SUCCEEDED", "'{refund}'"), nil},
		{
			"RepetitionFailed", failed + notRefunded + refundAgain("{again}", "FAILED", "'{refund}'"),
			[]string{"{ticket3}", "{again}"},
		},
		{
			"RepeatedTwice",
			failed + refundAgain("{again}", "FAILED", "'{refund}'") + refundAgain("{late}", "SUCCEEDED", "'{again}'"), nil,
		},
		{"ReplacedByAnotherRefundOfTheTicket", failed + refundAgain("{again}", "SUCCEEDED", "NULL"), nil},
		{
			"AmountWithoutTickets", `
				INSERT INTO refunds (id, order_id, whole, amount_minor, reason, status, step, alerted_at)
				VALUES ('{again}', '{bought}', false, 100, '', 'FAILED', 'DONE', now())`,
			[]string{"{again}"},
		},
		{
			"RefusedBecauseOfUsedTicket", `
				INSERT INTO refunds (id, order_id, whole, amount_minor, reason, status, step)
				VALUES ('{again}', '{bought}', false, 100, '', 'FAILED', 'DONE')`,
			nil, // the person who requested it knows
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, paymentService, tt.sql)
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			got := []string{}
			for _, f := range report.Discrepancies() {
				if f.Check == "tickets" || f.Check == "refunds" && f.ID != withIDs("{returned}") {
					got = append(got, f.ID)
				}
			}
			want := []string{}
			for _, name := range tt.want {
				want = append(want, withIDs(name))
			}
			require.ElementsMatch(t, want, got)
			if len(want) == 0 {
				require.Empty(t, report.Findings)
			}
		})
	}
}

// Each rule is broken, or the same state is allowed, because of a further change.
func TestBrokenRulesAreFound(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const (
		tonight   = `UPDATE events SET event_date = now() + interval '1 hour';`
		checkedIn = `UPDATE tickets SET status = 'USED', checked_in_at = now() WHERE id = '{ticket1}';`
		limit     = `UPDATE ticket_types SET max_per_person = 1, terms_since = now() - interval '1 hour';
			UPDATE reservations SET ended_at = expires_at WHERE status = 'COMPLETED';`
		ended = `UPDATE ticket_types SET sales_end = now() - interval '1 hour', terms_since = now() - interval '2 hours';`
	)
	undone := func(checkedIn, undoneAt string) string {
		return `INSERT INTO undone_check_ins (ticket_id, checked_in_at, gate, undone_at, undone_by, reason)
			VALUES ('{ticket1}', now() - interval '` + checkedIn + `', '', now() - interval '` + undoneAt + `', '{buyer}', '');`
	}
	const counted = `UPDATE ticket_type_sales SET checked_in = 1`
	for _, tt := range []struct {
		name, sql   string
		check, id   string // empty if there is no finding
		byAnalytics string // further statements in the database of analytics-service
	}{
		{name: "CheckedInInTime", sql: tonight + checkedIn + undone("2 hours", "1 hour"), byAnalytics: counted},
		{name: "CheckedInTooEarly", sql: checkedIn, byAnalytics: counted, check: "check-ins", id: "{ticket1}"},
		{
			name: "CheckedInTooLate", byAnalytics: counted, check: "check-ins", id: "{ticket1}",
			sql: `UPDATE events SET event_date = now() - interval '25 hours';` + checkedIn,
		},
		{
			name: "CheckedInBeforeTheEnd", byAnalytics: counted,
			sql: `UPDATE events SET event_date = now() - interval '25 hours', end_date = now() + interval '1 hour';` + checkedIn,
		},
		{
			name: "CheckedInAfterTheEnd", byAnalytics: counted, check: "check-ins", id: "{ticket1}",
			sql: `UPDATE events SET event_date = now() - interval '9 hours', end_date = now() - interval '7 hours';` + checkedIn,
		},
		{
			name: "CheckedInAndPostponed", byAnalytics: counted,
			sql: checkedIn + `UPDATE events SET updated_at = now()`,
		},
		{
			name: "CheckedInTwice", sql: tonight + checkedIn + undone("1 hour", "-1 minutes"), byAnalytics: counted,
			check: "check-ins", id: "{ticket1}",
		},
		{
			name: "UndoneBeforeCheckIn", sql: tonight + undone("1 hour", "2 hours"),
			check: "check-ins", id: "{ticket1}",
		},
		{name: "CheckInIsNotCounted", sql: tonight + checkedIn, check: "sales", id: "{event}"},
		{name: "UndoneCheckInIsCounted", sql: tonight, byAnalytics: counted, check: "sales", id: "{event}"},

		{name: "PersonHasTooManyTickets", sql: limit, check: "terms of sale", id: "{floor}"},
		{name: "LimitIsReached", sql: limit + `UPDATE ticket_types SET max_per_person = 2`},
		{name: "LimitWasLoweredLater", sql: limit + `UPDATE ticket_types SET terms_since = now()`},
		{
			name: "HoldHadExpiredBeforeItWasPaid",
			sql:  limit + `UPDATE reservations SET ended_at = expires_at + interval '1 minute'`,
		},
		{name: "SoldAfterTheEnd", sql: ended, check: "terms of sale", id: "{bought}"},
		{name: "SaleWasEndedLater", sql: ended + `UPDATE ticket_types SET terms_since = now()`},
		{
			name: "SoldAfterTheStart", check: "terms of sale", id: "{bought}",
			sql: `UPDATE events SET event_date = now() - interval '1 hour';
				UPDATE ticket_types SET terms_since = now() - interval '2 hours'`,
		},
		{
			name: "EventWasMovedForwardLater",
			sql: `UPDATE events SET event_date = now() - interval '1 hour', updated_at = now();
				UPDATE ticket_types SET terms_since = now() - interval '2 hours'`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, ticketService, tt.sql)
			if tt.byAnalytics != "" {
				s.exec(t, analyticsService, tt.byAnalytics)
			}
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			if tt.check == "" {
				require.Empty(t, report.Findings)
				return
			}
			requireFinding(t, report.Discrepancies(), tt.check, tt.id)
		})
	}
}

// A refund of the whole price as an amount keeps the tickets that were used.
func TestUsedTicketOfRefundedOrderIsNoDiscrepancy(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.reset(t)
	s.exec(t, ticketService, `
		UPDATE events SET event_date = now() + interval '1 hour';
		UPDATE tickets SET status = 'USED', checked_in_at = now() WHERE id = '{ticket1}'`)
	s.exec(t, analyticsService, `UPDATE ticket_type_sales SET checked_in = 1`)
	s.exec(t, paymentService, `
		INSERT INTO refunds (id, order_id, whole, ticket_ids, keep_used, amount_minor, reason, status, step)
		VALUES ('{late}', '{bought}', false, '{{ticket1}}', true, 0, '', 'SUCCEEDED', 'DONE')`)
	report, err := s.Audit(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}
