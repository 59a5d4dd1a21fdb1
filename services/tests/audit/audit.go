// Package audit holds the whole system to its promises from behind: it reads every service's database, the queues and
// what the card processor says that it charged, and compares them with each other.
//
// Nothing stops while it reads. Each database is read as of one moment, and the databases in the order in which a
// purchase goes backward through them: tickets, then orders, then charges. So what must have come first is seen if
// what came of it is. What must come after may not have come yet: such a finding names how long that may take, its
// patience, and is in flight until then. On a system that nobody uses any more nothing is in flight, and an exact
// audit takes every finding for a discrepancy.
//
// It reads tables of all services, which no service does: it is a judge of the system and no part of it.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Sources are what an audit reads.
type Sources struct {
	// Databases are the services', by app-id.
	Databases map[string]*pgxpool.Pool
	// Stripe is the address of the Stripe simulator; empty where the real one is used, whose charges are not compared.
	Stripe string
	// AWS is the address of the SNS/SQS emulator; empty where there is none, whose queues are not read.
	AWS string
	// Subscriptions say which consumer acts on which event.
	Subscriptions []Subscription
}

// Finding is something that is not as it is in the end.
type Finding struct {
	Check string // what was compared
	ID    string // of whatever it is wrong with
	What  string
	// Age is for how long it has been so, and Patience for how long it may be.
	Age, Patience time.Duration
}

// How long things may take while the system is in use.
const (
	// always is the patience with what is nothing wrong by itself, but has an end.
	always = time.Duration(math.MaxInt64)
	// A relay publishes at once, and again after 30 s at most.
	publishing = time.Minute
	// A queue hides a message for a minute after each of three deliveries.
	delivery = 4 * time.Minute
	// A mail is attempted for a day while the mail server is away.
	sending = 25 * time.Hour
	// A hold ends with the sweep of the minute after it is over; one sweep may be missed.
	sweeping = 2 * time.Minute
	// A saga waits for five minutes at most before it tries again.
	saga = 10 * time.Minute
	// A paid order waits for its tickets for half an hour before its money goes back.
	fulfilment = 30*time.Minute + saga
)

// Section is a table of the report.
type Section struct {
	Title  string
	Header []string
	Rows   [][]string
}

// Report is what an audit saw.
type Report struct {
	Sections []Section
	Findings []Finding
	exact    bool
}

// Discrepancies are the findings that nothing excuses.
func (r Report) Discrepancies() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), r.excused)
}

// InFlight are the findings that time may settle.
func (r Report) InFlight() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !r.excused(f) })
}

func (r Report) excused(f Finding) bool { return !r.exact && f.Age < f.Patience }

func (r *Report) find(check string, id fmt.Stringer, age, patience time.Duration, what string, args ...any) {
	r.Findings = append(r.Findings, Finding{check, id.String(), fmt.Sprintf(what, args...), age, patience})
}

func (r *Report) section(title string, header ...string) *Section {
	r.Sections = append(r.Sections, Section{Title: title, Header: header})
	return &r.Sections[len(r.Sections)-1]
}

func (s *Section) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	s.Rows = append(s.Rows, row)
}

// secondLook is after how long a discrepancy of a system in use is looked for again.
const secondLook = 3 * time.Second

// Audit compares everything. An exact audit is of a system that nobody uses: all that is not finished is a
// discrepancy. Any other looks a second time before it calls something one, since the databases were read one after
// the other.
func (s Sources) Audit(ctx context.Context, exact bool) (Report, error) {
	report, err := s.once(ctx, exact)
	if err != nil || exact || len(report.Discrepancies()) == 0 {
		return report, err
	}
	select {
	case <-ctx.Done():
		return Report{}, ctx.Err()
	case <-time.After(secondLook):
	}
	again, err := s.once(ctx, exact)
	if err != nil {
		return Report{}, err
	}
	again.Findings = slices.DeleteFunc(again.Findings, func(f Finding) bool {
		return !again.excused(f) && !slices.ContainsFunc(report.Discrepancies(), func(before Finding) bool {
			return before.Check == f.Check && before.ID == f.ID
		})
	})
	return again, nil
}

func (s Sources) once(ctx context.Context, exact bool) (Report, error) {
	seen, err := s.read(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Report{exact: exact}
	r.capacity(seen)
	r.holds(seen)
	r.orders(seen)
	r.charges(seen)
	r.refunds(seen)
	r.tickets(seen)
	r.cancellations(seen)
	r.outboxes(seen)
	r.effects(seen)
	r.notifications(seen)
	r.figures(seen)
	r.leftovers(seen)
	r.queues(seen)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.ID, b.ID)) })
	return r, nil
}
