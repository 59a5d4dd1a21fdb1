package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Client uses the system from outside, as a web shop would: plain REST calls that a sidecar or an ingress takes and hands
// on to the app they are for.
type Client struct {
	// Sidecar is the address of a sidecar's Dapr API. Any app's will do.
	Sidecar string
	// Ingress is the address of an ingress, which finds the app by the path. Where it is set, calls go there.
	Ingress string
	// HTTP sends the calls; nil is http.DefaultClient.
	HTTP *http.Client
	// Observe is told of every call that was answered, if it is set.
	Observe func(Exchange)
}

// Request is a call of one of the apps.
type Request struct {
	Method, App, Path string
	Token             Token // none when empty
	Header            map[string]string
	Body              any // marshalled, unless it is a []byte, which goes as it is; none when nil
}

// Exchange is a request with its answer.
type Exchange struct {
	Request
	URL    string
	Status int
	Answer any
}

// Refusal is an answer other than 2xx, in the contract's form. Client's methods return it as an error.
type Refusal struct {
	Status        int    `json:"-"`
	Code          string `json:"error"`
	Message       string `json:"message"`
	Field         string `json:"field,omitempty"`
	DeclineReason string `json:"declineReason,omitempty"`
	Order         *Order `json:"order,omitempty"` // the order that was refused
}

// Error gives the status, the code and the message.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message) }

// Token is an access token. Printed, it is shortened.
type Token string

// MarshalJSON writes the beginning of the token.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.short()) }

func (t Token) short() string { return string(t[:min(len(t), 12)]) + "…" }

// Person is somebody with an account.
type Person struct {
	UserID    uuid.UUID `json:"userId"`
	Email     string    `json:"email"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Roles     []string  `json:"roles"`
	Token     Token     `json:"-"`
}

// Event is something that tickets are sold for.
type Event struct {
	EventID   uuid.UUID `json:"eventId"`
	Name      string    `json:"name"`
	EventDate time.Time `json:"eventDate"`
	VenueName string    `json:"venueName"`
	Status    string    `json:"status"`
}

// TicketType is a kind of ticket for an event.
type TicketType struct {
	TicketTypeID      uuid.UUID     `json:"ticketTypeId"`
	Name              string        `json:"name"`
	Price             money.Decimal `json:"price"`
	Currency          string        `json:"currency"`
	Capacity          int           `json:"capacity"`
	QuantityAvailable int           `json:"quantityAvailable"`
}

// Availability is what is left of an event's tickets.
type Availability struct {
	OnSale      bool         `json:"onSale"`
	TicketTypes []TicketType `json:"ticketTypes"`
}

// Of gives how many tickets of a type are left, -1 when the event has no such type.
func (a Availability) Of(id uuid.UUID) int {
	for _, t := range a.TicketTypes {
		if t.TicketTypeID == id {
			return t.QuantityAvailable
		}
	}
	return -1
}

// Order is a purchase.
type Order struct {
	OrderID       uuid.UUID     `json:"orderId"`
	OrderNumber   string        `json:"orderNumber"`
	TotalAmount   money.Decimal `json:"totalAmount,omitempty"`
	Currency      string        `json:"currency,omitempty"`
	PaymentStatus string        `json:"paymentStatus"`
	FailureReason string        `json:"failureReason,omitempty"`
}

// Ticket lets its holder in.
type Ticket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	OrderID      uuid.UUID `json:"orderId"`
	HolderName   string    `json:"holderName"`
	Status       string    `json:"status"`
}

// Sales are an event's figures.
type Sales struct {
	OrdersCompleted  int           `json:"ordersCompleted"`
	OrdersFailed     int           `json:"ordersFailed"`
	TicketsSold      int           `json:"ticketsSold"`
	TicketsGenerated int           `json:"ticketsGenerated"`
	Revenue          money.Decimal `json:"revenue"`
	Refunded         money.Decimal `json:"refunded"`
	Currency         string        `json:"currency"`
}

// Do sends req and reads the answer into out, unless out is nil. An answer other than 2xx is a *Refusal.
func (c Client) Do(ctx context.Context, req Request, out any) error {
	body, raw := req.Body.([]byte)
	if !raw && req.Body != nil {
		var err error
		if body, err = json.Marshal(req.Body); err != nil {
			return fmt.Errorf("%s %s: %w", req.Method, req.Path, err)
		}
	}
	url := c.Sidecar + "/v1.0/invoke/" + req.App + "/method" + req.Path
	if c.Ingress != "" {
		url = c.Ingress + req.Path
	}
	call, err := http.NewRequestWithContext(ctx, req.Method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, url, err)
	}
	if req.Body != nil {
		call.Header.Set("Content-Type", "application/json")
	}
	if req.Token != "" {
		call.Header.Set("Authorization", "Bearer "+string(req.Token))
	}
	for name, value := range req.Header {
		call.Header.Set(name, value)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(call)
	if err != nil {
		return fmt.Errorf("call %s: %w", req.App, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", req.Method, url, err)
	}

	exchange := Exchange{Request: req, URL: url, Status: res.StatusCode, Answer: out}
	var refusal *Refusal
	if res.StatusCode >= 300 {
		refusal = &Refusal{Status: res.StatusCode}
		// Not every refusal is ours: a sidecar that cannot reach the app has another form.
		if err := json.Unmarshal(answer, refusal); err != nil || refusal.Code == "" {
			refusal.Code, refusal.Message = "NOT_OURS", strings.TrimSpace(string(answer))
		}
		exchange.Answer = refusal
	} else if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%s %s: not the JSON it should be: %w", req.Method, url, err)
		}
	}
	if c.Observe != nil {
		c.Observe(exchange)
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// call is Do for an answer of type T.
func call[T any](ctx context.Context, c Client, req Request) (T, error) {
	var out T
	err := c.Do(ctx, req, &out)
	return out, err
}

// Password is the one that everybody who joins here has. Their e-mail addresses are made up too.
const Password = "correct horse battery staple"

// Join registers somebody new and logs them in.
func (c Client) Join(ctx context.Context, firstName, lastName string, organizer bool) (Person, error) {
	type registration struct {
		Email     string `json:"email"`
		Password  string `json:"password"`
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
		Organizer bool   `json:"organizer,omitempty"`
	}
	email := strings.ToLower(firstName) + "-" + uuid.NewString()[:8] + "@example.com"
	var p Person
	if err := c.Do(ctx, Request{
		Method: http.MethodPost, App: "auth-service", Path: "/api/auth/register",
		Body: registration{email, Password, firstName, lastName, organizer},
	}, &p); err != nil {
		return Person{}, err
	}
	var session struct {
		AccessToken Token  `json:"accessToken"`
		TokenType   string `json:"tokenType"`
		ExpiresIn   int    `json:"expiresIn"`
	}
	err := c.Do(ctx, Request{
		Method: http.MethodPost, App: "auth-service", Path: "/api/auth/login",
		Body: map[string]string{"email": email, "password": Password},
	}, &session)
	p.Token = session.AccessToken
	return p, err
}

// Draft makes an event of the organizer's that is not on sale yet.
func (c Client) Draft(ctx context.Context, organizer Person, name string) (Event, error) {
	type draft struct {
		Name         string    `json:"name"`
		Description  string    `json:"description"`
		EventDate    time.Time `json:"eventDate"`
		VenueName    string    `json:"venueName"`
		VenueAddress string    `json:"venueAddress"`
		Category     string    `json:"category"`
	}
	now := time.Now().UTC()
	return call[Event](ctx, c, Request{
		Method: http.MethodPost, App: "event-service", Path: "/api/events", Token: organizer.Token,
		Body: draft{
			name, "Three bands, one lake, one night.", time.Date(now.Year()+1, time.July, 15, 18, 0, 0, 0, time.UTC),
			"Lakeside Amphitheater", "1 Shore Road, Springfield", "MUSIC",
		},
	})
}

// AddTicketType makes tickets of the organizer's event, at a price in USD.
func (c Client) AddTicketType(ctx context.Context, organizer Person, event uuid.UUID, name string, price money.Decimal, capacity int) (TicketType, error) {
	type ticketType struct {
		EventID  uuid.UUID     `json:"eventId"`
		Name     string        `json:"name"`
		Price    money.Decimal `json:"price"`
		Currency string        `json:"currency"`
		Capacity int           `json:"capacity"`
	}
	return call[TicketType](ctx, c, Request{
		Method: http.MethodPost, App: "ticket-service", Path: "/api/tickets/types", Token: organizer.Token,
		Body: ticketType{event, name, price, "USD", capacity},
	})
}

// Publish puts the organizer's event on sale.
func (c Client) Publish(ctx context.Context, organizer Person, event uuid.UUID) (Event, error) {
	return call[Event](ctx, c, Request{
		Method: http.MethodPost, App: "event-service", Path: "/api/events/" + event.String() + "/publish", Token: organizer.Token,
	})
}

// Availability says what is left.
func (c Client) Availability(ctx context.Context, event uuid.UUID) (Availability, error) {
	return call[Availability](ctx, c, Request{
		Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/events/" + event.String() + "/availability",
	})
}

// Purchase is an order to be placed. Card is one of Stripe's test payment methods.
type Purchase struct {
	Event, TicketType uuid.UUID
	Quantity          int
	Card              string
	Key               string // the Idempotency-Key
}

// Stripe's test payment methods: one that pays, one that is declined.
const (
	GoodCard     = "pm_card_visa"
	DeclinedCard = "pm_card_chargeDeclined"
)

// Request is the purchase as the buyer's REST call.
func (p Purchase) Request(buyer Person) Request {
	type ticketRequest struct {
		TicketTypeID uuid.UUID `json:"ticketTypeId"`
		Quantity     int       `json:"quantity"`
	}
	type order struct {
		EventID        uuid.UUID       `json:"eventId"`
		TicketRequests []ticketRequest `json:"ticketRequests"`
		PaymentMethod  string          `json:"paymentMethod"`
		PaymentToken   string          `json:"paymentToken"`
	}
	return Request{
		Method: http.MethodPost, App: "payment-service", Path: "/api/payments/orders", Token: buyer.Token,
		Header: map[string]string{"Idempotency-Key": p.Key},
		Body:   order{p.Event, []ticketRequest{{p.TicketType, p.Quantity}}, "CREDIT_CARD", p.Card},
	}
}

// Buy places an order. The order may still be PENDING.
func (c Client) Buy(ctx context.Context, buyer Person, p Purchase) (Order, error) {
	return call[Order](ctx, c, p.Request(buyer))
}

// Order gives one of the buyer's orders.
func (c Client) Order(ctx context.Context, buyer Person, id uuid.UUID) (Order, error) {
	return call[Order](ctx, c, Request{
		Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders/" + id.String(), Token: buyer.Token,
	})
}

// Tickets are the tickets of the buyer's, newest first.
func (c Client) Tickets(ctx context.Context, buyer Person) ([]Ticket, error) {
	type tickets struct {
		Tickets []Ticket `json:"tickets"`
	}
	mine, err := call[tickets](ctx, c, Request{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: buyer.Token})
	return mine.Tickets, err
}

// Sales gives the figures of the organizer's event.
func (c Client) Sales(ctx context.Context, organizer Person, event uuid.UUID) (Sales, error) {
	return call[Sales](ctx, c, Request{
		Method: http.MethodGet, App: "analytics-service", Path: "/api/analytics/events/" + event.String() + "/sales", Token: organizer.Token,
	})
}

// patience is how long Await waits for what the system does by itself, unless its context says otherwise.
const patience = 45 * time.Second

// Await asks again and again until the answer is enough, and gives that answer. Its error, when ctx ends or after a
// while, says what it got last.
func Await[T any](ctx context.Context, ask func() (T, error), enough func(T) bool) (T, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	began := time.Now()
	for {
		got, err := ask()
		if err == nil && enough(got) {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return got, errors.Join(fmt.Errorf("not what it should be after %s: %+v", time.Since(began).Round(time.Second), got), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
