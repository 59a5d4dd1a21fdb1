package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Client calls the system from outside, as a web shop would: with REST calls to a sidecar or an ingress, which forwards
// them to the apps.
type Client struct {
	// Sidecar is the URL of a sidecar's Dapr API. The sidecar of any app can be used.
	Sidecar string
	// Ingress is the URL of an ingress, which selects the app by the path. If it is set, Sidecar is not used.
	Ingress string
	// HTTP sends the calls. Nil means http.DefaultClient.
	HTTP *http.Client
	// Observe, if set, is called after every call that got an answer.
	Observe func(Exchange)
}

// Request is a call of one app.
type Request struct {
	Method, App, Path string
	Token             Token // empty for none
	Header            map[string]string
	Body              any // nil for none; a []byte is sent as it is, anything else as JSON
}

// Exchange is a request and its answer.
type Exchange struct {
	Request
	URL    string
	Status int
	Answer any
}

// Refusal is an answer other than 2xx, in the contract's error format. Client's methods return it as an error.
type Refusal struct {
	Status        int    `json:"-"`
	Code          string `json:"error"`
	Message       string `json:"message"`
	Field         string `json:"field,omitempty"`
	DeclineReason string `json:"declineReason,omitempty"`
	Order         *Order `json:"order,omitempty"` // the order that failed
}

// NotFromApp is the code of a Refusal that has no code of an app's, because a sidecar or an ingress answered.
const NotFromApp = "NOT_FROM_APP"

// Error returns the status, the code and the message.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message) }

// Token is an access token. It is shortened in what the demo prints.
type Token string

// MarshalJSON encodes only the beginning of the token.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.short()) }

func (t Token) short() string { return string(t[:min(len(t), 12)]) + "…" }

// Person is a user with an account, logged in.
type Person struct {
	UserID    uuid.UUID `json:"userId"`
	Email     string    `json:"email"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Roles     []string  `json:"roles"`
	Token     Token     `json:"-"`
}

// Event is an event that tickets are sold for.
type Event struct {
	EventID   uuid.UUID `json:"eventId"`
	Name      string    `json:"name"`
	EventDate time.Time `json:"eventDate"`
	VenueName string    `json:"venueName"`
	Status    string    `json:"status"`
}

// TicketType is one type of ticket for an event.
type TicketType struct {
	TicketTypeID      uuid.UUID     `json:"ticketTypeId"`
	Name              string        `json:"name"`
	Price             money.Decimal `json:"price"`
	Currency          string        `json:"currency"`
	Capacity          int           `json:"capacity"`
	QuantityAvailable int           `json:"quantityAvailable"`
}

// Availability is the number of tickets of an event that are left, by type.
type Availability struct {
	OnSale      bool         `json:"onSale"`
	TicketTypes []TicketType `json:"ticketTypes"`
}

// Of returns the number of tickets of a type that are left, or -1 when the event has no such type.
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
	Action        *Action       `json:"action,omitempty"` // of an order that is REQUIRES_ACTION
}

// Action is what the buyer does to complete a payment that the bank asks about.
type Action struct {
	ClientSecret string `json:"clientSecret"`
	RedirectURL  string `json:"redirectUrl,omitempty"` // the bank's page
}

// Ticket admits its holder to an event.
type Ticket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	OrderID      uuid.UUID `json:"orderId"`
	HolderName   string    `json:"holderName"`
	Status       string    `json:"status"`
}

// Sales has the sales figures of an event.
type Sales struct {
	OrdersCompleted  int           `json:"ordersCompleted"`
	OrdersFailed     int           `json:"ordersFailed"`
	TicketsSold      int           `json:"ticketsSold"`
	TicketsGenerated int           `json:"ticketsGenerated"`
	Revenue          money.Decimal `json:"revenue"`
	Refunded         money.Decimal `json:"refunded"`
	Currency         string        `json:"currency"`
}

// Do sends req and decodes the answer into out, unless out is nil. It returns a *Refusal for an answer other than 2xx.
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
		// A sidecar that cannot reach the app answers in another format.
		if err := json.Unmarshal(answer, refusal); err != nil || refusal.Code == "" {
			refusal.Code, refusal.Message = NotFromApp, strings.TrimSpace(string(answer))
		}
		exchange.Answer = refusal
	} else if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%s %s: decode the answer: %w", req.Method, url, err)
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

// call is Do with an answer of type T.
func call[T any](ctx context.Context, c Client, req Request) (T, error) {
	var out T
	err := c.Do(ctx, req, &out)
	return out, err
}

// Password is the password of every account that Join creates.
const Password = "correct horse battery staple"

// Join registers a new user, with a random e-mail address, and logs in.
func (c Client) Join(ctx context.Context, firstName, lastName string, organizer bool) (Person, error) {
	type registration struct {
		Email     string `json:"email"`
		Password  string `json:"password"`
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
		Organizer bool   `json:"organizer,omitempty"`
	}
	type credentials struct {
		Email    string `json:"email"`
		Password string `json:"password"`
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
		Body: credentials{email, Password},
	}, &session)
	p.Token = session.AccessToken
	return p, err
}

// Draft creates an event of the organizer. It is not on sale yet.
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

// AddTicketType adds a type of ticket to the organizer's event. The price is in USD.
func (c Client) AddTicketType(
	ctx context.Context, organizer Person, event uuid.UUID, name string, price money.Decimal, capacity int,
) (TicketType, error) {
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
		Method: http.MethodPost, App: "event-service", Path: "/api/events/" + event.String() + "/publish",
		Token: organizer.Token,
	})
}

// Availability returns the number of tickets of an event that are left.
func (c Client) Availability(ctx context.Context, event uuid.UUID) (Availability, error) {
	return call[Availability](ctx, c, Request{
		Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/events/" + event.String() + "/availability",
	})
}

// Purchase is an order to place. Card is one of Stripe's test payment methods.
type Purchase struct {
	Event, TicketType uuid.UUID
	Quantity          int
	Card              string
	Key               string // the Idempotency-Key
	ReturnURL         string // where the bank sends the buyer after authentication; may be empty
}

// Some of Stripe's test payment methods: a card that can be charged, one that is declined, and one whose bank asks the
// buyer first.
const (
	GoodCard          = "pm_card_visa"
	DeclinedCard      = "pm_card_chargeDeclined"
	AuthenticatedCard = "pm_card_authenticationRequired"
)

// Request returns the REST call with which the buyer places the order.
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
		ReturnURL      string          `json:"returnUrl,omitempty"`
	}
	return Request{
		Method: http.MethodPost, App: "payment-service", Path: "/api/payments/orders", Token: buyer.Token,
		Header: map[string]string{"Idempotency-Key": p.Key},
		Body:   order{p.Event, []ticketRequest{{p.TicketType, p.Quantity}}, "CREDIT_CARD", p.Card, p.ReturnURL},
	}
}

// Buy places an order. The order may still be PENDING.
func (c Client) Buy(ctx context.Context, buyer Person, p Purchase) (Order, error) {
	return call[Order](ctx, c, p.Request(buyer))
}

// Order returns one of the buyer's orders.
func (c Client) Order(ctx context.Context, buyer Person, id uuid.UUID) (Order, error) {
	return call[Order](ctx, c, Request{
		Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders/" + id.String(),
		Token: buyer.Token,
	})
}

// Tickets returns the buyer's tickets, newest first.
func (c Client) Tickets(ctx context.Context, buyer Person) ([]Ticket, error) {
	type tickets struct {
		Tickets []Ticket `json:"tickets"`
	}
	mine, err := call[tickets](ctx, c, Request{
		Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: buyer.Token,
	})
	return mine.Tickets, err
}

// Sales returns the sales figures of the organizer's event.
func (c Client) Sales(ctx context.Context, organizer Person, event uuid.UUID) (Sales, error) {
	return call[Sales](ctx, c, Request{
		Method: http.MethodGet, App: "analytics-service", Path: "/api/analytics/events/" + event.String() + "/sales",
		Token: organizer.Token,
	})
}
