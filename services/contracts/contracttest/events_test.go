package contracttest_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

// samples returns an event of each type with all of its fields set.
func samples() []messaging.Payload {
	order, user, event, reservation := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	kind, ticket := uuid.New(), uuid.New()
	at := time.Date(2024, 7, 15, 18, 0, 0, 0, time.UTC)
	details := events.EventDetails{
		EventID: event, OrganizerID: user, EventName: "Summer Music Festival 2024", EventDate: at,
		VenueName: "Central Park Amphitheater", Category: "MUSIC", Status: "PUBLISHED", UpdatedAt: at,
	}
	postponed := details
	details.EndDate, details.VenueAddress = new(at.Add(5*time.Hour)), "123 Park Ave, New York"
	details.DisputedTickets, details.TimeZone = "VOID", "America/New_York"
	postponed.DisputedTickets, postponed.TimeZone = details.DisputedTickets, details.TimeZone
	postponed.EndDate, postponed.PostponedFrom, postponed.Reason = details.EndDate, &at, "The stage is not ready"
	postponed.VenueAddress, postponed.Previous = details.VenueAddress, &events.HolderDetails{
		EventName: details.EventName, EventDate: at, EndDate: &at, VenueName: "Hall", VenueAddress: "1 Road",
	}
	mail := events.AccountMailRequest{UserID: user, RequestID: uuid.New()}
	return []messaging.Payload{
		events.PaymentCompleted{
			OrderID: order, OrderNumber: "ORD-2024-001234", UserID: user, EventID: event, ReservationID: reservation,
			HolderName: "John Doe", TotalAmount: "100.00", Currency: "USD", PaymentMethod: "CREDIT_CARD",
			TransactionID: "pi_1", Items: []events.OrderItem{{TicketTypeID: kind, Quantity: 2, UnitPrice: "50.00"}},
		},
		events.PaymentFailed{
			OrderID: order, UserID: user, EventID: event, ReservationID: reservation,
			FailureReason: "INSUFFICIENT_FUNDS", ErrorMessage: "Payment declined by issuing bank",
		},
		events.RefundProcessed{
			OrderID: order, UserID: user, EventID: event, RefundID: "re_1", Amount: "50.00", RefundedTotal: "100.00",
			Currency: "USD", Reason: "Cannot come", OrderRefunded: true,
		},
		events.RefundFailed{
			OrderID: order, UserID: user, EventID: event, RefundID: "re_1", Amount: "50.00", RefundedTotal: "50.00",
			Currency: "USD", Reason: "EXPIRED_OR_CANCELED_CARD", Reversed: true,
		},
		events.PaymentDisputed{
			DisputeID: "dp_1", OrderID: order, UserID: user, EventID: event, Amount: "150.00", Currency: "USD",
			Reason: "FRAUDULENT", Status: events.DisputeWon, PreviousStatus: events.DisputeOpen, Revision: 2,
		},
		events.TicketsGenerated{OrderID: order, UserID: user, EventID: event, Tickets: []events.Ticket{{
			TicketID: ticket, TicketNumber: "TKT-2024-001234", TicketTypeID: kind,
			QRCode: "https://cdn.example.com/qr/dd0e8400.png",
		}}},
		events.TicketGenerationFailed{
			OrderID: order, UserID: user, EventID: event, ReservationID: reservation, Reason: "INSUFFICIENT_INVENTORY",
		},
		events.TicketCancelled{
			TicketID: ticket, TicketNumber: "TKT-2024-001234", TicketTypeID: kind, OrderID: order, UserID: user,
			EventID: event, Reason: "Cannot come", CancelledBy: events.CancelledByRefund, RefundKey: "refund-1",
		},
		events.TicketTransferred{TicketID: ticket, OrderID: order, EventID: event, FromUserID: user, ToUserID: uuid.New()},
		events.TicketCheckedIn{
			TicketID: ticket, OrderID: order, EventID: event, TicketTypeID: kind, CheckedInAt: at, Gate: "North",
		},
		events.TicketCheckInUndone{
			TicketID: ticket, OrderID: order, EventID: event, TicketTypeID: kind, CheckedInAt: at,
			UndoneAt: at.Add(time.Minute), Reason: "Scanned by mistake",
		},
		events.TicketsDisputed{
			DisputeID: "dp_1", OrderID: order, EventID: event, UserID: user, Organizer: true, TicketCount: 2,
			TicketState: events.TicketsSuspended, DisputeStatus: events.DisputeOpen, Amount: "150.00", Currency: "USD",
			Reason: "FRAUDULENT",
		},
		events.EventCreated{EventDetails: details},
		events.EventUpdated{EventDetails: postponed},
		events.EventPublished{EventDetails: details},
		events.EventCancelled{
			EventID: event, EventName: "Summer Music Festival 2024", OrganizerID: user,
			CancellationReason: "Venue unavailable", AffectedTicketCount: 150, UpdatedAt: at,
		},
		events.EmailVerificationRequested{AccountMailRequest: mail},
		events.PasswordResetRequested{AccountMailRequest: mail},
		events.CompensationFailed{
			OrderID: order, ReservationID: reservation, Reason: "TICKETS_NOT_GENERATED", Step: "FULFIL", Attempts: 5,
		},
		events.DeadLetterArchived{
			Service: "ticket-service", Queue: "ticket-processing-queue", DeadLetterID: ticket.String(), EventID: event.String(),
			EventType: "PAYMENT_COMPLETED", Reason: "database is down", FirstSeen: at,
		},
	}
}

// envelope returns the data of an event as package messaging encodes it.
func envelope(t *testing.T, p messaging.Payload) []byte {
	t.Helper()
	data, err := json.Marshal(messaging.Envelope[messaging.Payload]{
		EventType: p.Type(), Version: messaging.Version, Timestamp: time.Now().UTC().Truncate(time.Millisecond),
		CorrelationID: "corr-" + uuid.NewString(), Payload: p,
	})
	require.NoError(t, err)
	return data
}

func TestEventsMatchTheirSchemas(t *testing.T) {
	t.Parallel()
	for _, sample := range samples() {
		t.Run(sample.Type(), func(t *testing.T) {
			t.Parallel()
			data := envelope(t, sample)
			require.NoError(t, contracttest.Envelope(sample.Type(), data))

			var changed map[string]any
			require.NoError(t, json.Unmarshal(data, &changed))
			changed["payload"].(map[string]any)["unknown"] = true
			data, err := json.Marshal(changed)
			require.NoError(t, err)
			require.Error(t, contracttest.Envelope(sample.Type(), data), "a field that the schema lacks")
		})
	}
}

// It also checks that samples has each type.
func TestEveryEventTypeHasASchema(t *testing.T) {
	t.Parallel()
	var sampled, schemas []string
	for _, sample := range samples() {
		sampled = append(sampled, sample.Type())
	}
	files, err := filepath.Glob("../events/*.schema.json")
	require.NoError(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".schema.json")
		schemas = append(schemas, strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	types := eventTypes(t)
	require.ElementsMatch(t, types, schemas, "Go types and schemas")
	require.ElementsMatch(t, types, sampled, "Go types and samples")
}

// eventTypes returns the results of the Type methods in package events.
func eventTypes(t *testing.T) []string {
	t.Helper()
	var types []string
	var declarations []ast.Decl
	for _, name := range []string{"events.go", "disputes.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), "../events/"+name, nil, 0)
		require.NoError(t, err)
		declarations = append(declarations, file.Decls...)
	}
	for _, declaration := range declarations {
		method, is := declaration.(*ast.FuncDecl)
		if !is || method.Name.Name != "Type" {
			continue
		}
		result := method.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
		value, err := strconv.Unquote(result.Value)
		require.NoError(t, err)
		types = append(types, value)
	}
	require.NotEmpty(t, types)
	return types
}

// Fields that this project adds to an event must be optional.
func TestMessagesOfTheContractAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../conformance/messages/*.json")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		message, err := os.ReadFile(file)
		require.NoError(t, err)
		var e struct{ EventType string }
		require.NoError(t, json.Unmarshal(message, &e))
		require.NoError(t, contracttest.Envelope(e.EventType, message), file)
	}
}

func TestEnvelopeReportsAnUnknownType(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, contracttest.Envelope("NO_SUCH_TYPE", []byte(`{}`)), os.ErrNotExist)
}
