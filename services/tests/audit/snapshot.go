package audit

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts"
)

// snapshot is everything that an audit read. Ages are computed with the clock of the database that has the row.
type snapshot struct {
	ticketTypes       []ticketType
	active            []reservation
	reservationCounts []statusCount
	tickets           []ticket
	refusals          map[uuid.UUID]string // by order: why ticket-service refused to fulfil it
	batches           []batch
	checkIns          []violation // of tickets
	terms             []violation // of reservations and ticket types: sales that the terms of sale did not allow

	orders  []order
	items   []item
	refunds []refund

	charges     []charge
	chargesRead bool // false if the audit has no Stripe simulator

	notifications []notification
	announced     map[uuid.UUID]bool // by event with an announcement: whether all its recipients are recorded
	sales         []eventSales

	messages map[string]messages // by service
	queues   []queue

	subscriptions []contracts.Subscription
}

type ticketType struct {
	ID, EventID          uuid.UUID
	Name                 string
	Capacity, Sold, Held int
	Tickets, Holds       int // counted from the tickets and the active reservations
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
	Status, Suspension           string
	CancelledBy, RefundKey       string
	CheckedIn                    bool
	Age                          time.Duration // since it was last issued, used or cancelled, or a check-in was undone
}

func (t ticket) cancelled() bool { return t.Status == "CANCELLED" }

type order struct {
	ID, EventID         uuid.UUID
	Number              string
	Status, Step        string
	Total               int64
	Currency            string
	Refunding, Refunded int64
	TransactionID       string
	Dispute             string        // the status of its disputes together
	Disputed            int64         // what the bank has taken
	AwaitsBuyer         bool          // who has to authenticate at the bank
	ChargeAge           time.Duration // since its charge was first attempted; 0 before
	Age                 time.Duration // since its last saga event
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
	KeepUsed     bool // tickets that were used stay as they are
	Amount       int64
	Status, Step string
	FailureCode  string
	RetryOf      uuid.UUID     // the failed refund that it repeats; uuid.Nil if it repeats none
	Alerted      bool          // operations know that it failed
	Age          time.Duration // since it was requested
}

// key is the refund's idempotency key at ticket-service and at the card processor.
func (r refund) key() string { return "refund-" + r.ID.String() }

// covers reports whether the refund cancels the ticket, which belongs to its order.
func (r refund) covers(ticket uuid.UUID) bool { return r.Whole || slices.Contains(r.TicketIDs, ticket) }

// violation is a state that the rules of one service do not allow.
type violation struct {
	ID     uuid.UUID
	Detail string
}

// batch is unfinished work on a cancelled event.
type batch struct {
	ID     uuid.UUID
	Detail string
	Age    time.Duration
}

type charge struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	AmountReceived int64             `json:"amountReceived"`
	AmountRefunded int64             `json:"amountRefunded"`
	AmountDisputed int64             `json:"amountDisputed"` // of disputes that are open or lost
	Dispute        string            `json:"dispute"`        // the status of the last one
	Currency       string            `json:"currency"`
	Metadata       map[string]string `json:"metadata"`
	Created        time.Time         `json:"created"`
}

func (c charge) String() string { return c.ID }

// chargeable reports whether the charge may still take money: it waits for a confirmation, for the buyer or for the
// bank. A charge without a card, or with a declined one, does not.
func (c charge) chargeable() bool {
	return c.Status == "requires_confirmation" || c.Status == "requires_action" || c.Status == "processing"
}

type notification struct {
	ID, EventID, UserID, OrderID uuid.UUID
	Kind, Status, ErrorCode      string
	RefundKey                    string // in the facts
	Resend                       bool
	Age                          time.Duration
}

func (n notification) notice() notice {
	return newNotice(n.Kind, n.UserID, n.OrderID, n.EventID, n.RefundKey)
}

type eventSales struct {
	EventID                               uuid.UUID
	Completed, Generated, Cancelled, Sold int
	CheckedIn                             int
	Revenue, Refunded, Disputed           int64
}

// messages has the tables of one service that its events pass through.
type messages struct {
	outbox  []message
	inbox   map[uuid.UUID]bool
	unknown []unknown
	letters []letter
	replays []replay
	purged  map[string]time.Time // by table: rows older than this may be purged
}

type message struct {
	ID          uuid.UUID
	Topic, Type string
	// Zero if the payload does not have them.
	OrderID, UserID, FromUserID, ToUserID uuid.UUID
	CancelledBy, RefundKey                string
	Postponed                             bool
	Changed                               bool // it changed details of an event that holders of tickets have to know
	Organizer                             bool // UserID is the organizer

	Published bool
	Since     time.Time // when it was published, or written if it is not published
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

// replay is an unfinished replay of the outbox.
type replay struct {
	ID    uuid.UUID
	Topic string
	Age   time.Duration // since it was requested
}

type queue struct {
	Name                       string
	Visible, InFlight, Delayed int
}

func (q queue) String() string { return q.Name }

// clockSkew is the largest expected difference between the clocks of a service and of its database.
const clockSkew = time.Hour

// maybePurged reports whether the event with this id may have been purged from its outbox. The id, a UUIDv7, has the
// time at which the event was written.
func (s *snapshot) maybePurged(id uuid.UUID) bool {
	written := time.Unix(id.Time().UnixTime())
	for _, m := range s.messages {
		if id.Version() == 7 && written.Before(m.purged["outbox"].Add(clockSkew)) {
			return true
		}
	}
	return false
}
