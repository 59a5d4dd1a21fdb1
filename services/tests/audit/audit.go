// Package audit checks that the whole system kept its promises. It reads every service's database, the queues and the
// charges of the card processor, and compares them with each other.
//
// The audit does not stop the system. It reads each database in one snapshot, and the databases against the direction
// of a purchase: tickets, then orders, then charges. A ticket that the audit sees therefore has its order and its
// charge in what it reads later. The reverse does not hold: an order may be read before its ticket exists. Such a
// finding has a grace period and counts as in flight until that has passed. On an idle system nothing is in flight, so
// an exact audit reports every finding as a discrepancy.
//
// The audit reads the tables of all services, which no service may do. It is a test tool and not part of the system.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts"
)

// Sources is what an audit reads.
type Sources struct {
	// Databases has the pool of each service's database, by app-id.
	Databases map[string]*pgxpool.Pool
	// Stripe is the URL of the Stripe simulator. If it is empty, as with the real Stripe, charges are not compared.
	Stripe string
	// AWS is the URL of the SNS/SQS emulator. If it is empty, queues are not read.
	AWS string
	// Subscriptions lists which consumer processes which event type.
	Subscriptions []contracts.Subscription
}

// Finding is a state that a finished system must not be in.
type Finding struct {
	Check  string // the comparison that found it
	ID     string // of the row, charge or queue
	Detail string
	// Age is how long the state has lasted. Until Grace has passed, the finding counts as in flight.
	Age, Grace time.Duration
}

// Grace periods of a system in use.
const (
	// graceUnlimited is for states that are correct at any age, but must not remain in an idle system.
	graceUnlimited = time.Duration(math.MaxInt64)
	// A relay publishes at once, and retries after at most 30 s.
	gracePublish = time.Minute
	// A queue delivers a message three times, and hides it for a minute after each delivery.
	graceDelivery = 4 * time.Minute
	// While the mail server is down, a mail is attempted for a day.
	graceSend = 25 * time.Hour
	// The sweeper of expired reservations runs every minute. One run may be missed.
	graceExpiry = 2 * time.Minute
	// A saga waits at most five minutes between attempts.
	graceSaga = 10 * time.Minute
	// A paid order waits half an hour for its tickets before it is refunded.
	graceFulfilment = 30*time.Minute + graceSaga
	// A buyer has ten minutes to authenticate. Then the charge is settled.
	graceBuyer = 10*time.Minute + graceSaga
	// A replay marks 250 events a second, and waits until they are published.
	graceReplay = time.Hour
)

// Section is a table of the report.
type Section struct {
	Title  string
	Header []string
	Rows   [][]string
}

// Report is the result of an audit.
type Report struct {
	Sections []Section
	Findings []Finding
	exact    bool
}

// Discrepancies returns the findings that are not in flight.
func (r Report) Discrepancies() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), r.inFlight)
}

// InFlight returns the findings that are still within their grace period.
func (r Report) InFlight() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !r.inFlight(f) })
}

func (r Report) inFlight(f Finding) bool { return !r.exact && f.Age < f.Grace }

func (r *Report) addFinding(check string, id fmt.Stringer, age, grace time.Duration, detail string, args ...any) {
	r.Findings = append(r.Findings, Finding{check, id.String(), fmt.Sprintf(detail, args...), age, grace})
}

func (r *Report) addSection(title string, header ...string) *Section {
	r.Sections = append(r.Sections, Section{Title: title, Header: header})
	return &r.Sections[len(r.Sections)-1]
}

func (s *Section) addRow(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	s.Rows = append(s.Rows, row)
}

// recheckDelay is the time between the two reads of an audit that is not exact.
const recheckDelay = 3 * time.Second

// Audit compares all sources. An exact audit expects an idle system and reports all unfinished work as discrepancies.
// An audit that is not exact reads everything a second time before it reports a discrepancy, because it does not read
// the databases at the same moment. It returns an error if a source cannot be read.
func (s Sources) Audit(ctx context.Context, exact bool) (Report, error) {
	first, err := s.auditOnce(ctx, exact)
	if err != nil || exact || len(first.Discrepancies()) == 0 {
		return first, err
	}
	select {
	case <-ctx.Done():
		return Report{}, ctx.Err()
	case <-time.After(recheckDelay):
	}
	second, err := s.auditOnce(ctx, exact)
	if err != nil {
		return Report{}, err
	}
	second.Findings = slices.DeleteFunc(second.Findings, func(f Finding) bool {
		return !second.inFlight(f) && !slices.ContainsFunc(first.Discrepancies(), func(before Finding) bool {
			return before.Check == f.Check && before.ID == f.ID
		})
	})
	return second, nil
}

func (s Sources) auditOnce(ctx context.Context, exact bool) (Report, error) {
	snap, err := s.read(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Report{exact: exact}
	r.checkCapacity(snap)
	r.checkReservations(snap)
	r.checkOrders(snap)
	r.checkCharges(snap)
	r.checkRefunds(snap)
	r.checkTickets(snap)
	r.checkRules(snap)
	r.checkDisputes(snap)
	r.checkCancellations(snap)
	r.checkOutboxes(snap)
	r.checkEffects(snap)
	r.checkNotifications(snap)
	r.checkSales(snap)
	r.checkUnprocessed(snap)
	r.checkReplays(snap)
	r.checkQueues(snap)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.ID, b.ID))
	})
	return r, nil
}
