package events_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
)

// payload is implemented by all events.
type payload interface {
	Type() string
	Topic() string
	Subject() string
	Attributes() map[string]string
}

var (
	order   = uuid.MustParse("cc0e8400-e29b-41d4-a716-446655440000")
	user    = uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")
	event   = uuid.MustParse("770e8400-e29b-41d4-a716-446655440000")
	booking = uuid.MustParse("bb0e8400-e29b-41d4-a716-446655440000")
	kind    = uuid.MustParse("990e8400-e29b-41d4-a716-446655440000")
)

// The expected JSON is that of the contract's examples with the added fields.
func TestPayloadsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 7, 15, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name           string
		payload        payload
		topic, subject string
		attributes     map[string]string
		json           string
	}{
		{
			"PAYMENT_COMPLETED",
			events.PaymentCompleted{
				OrderID: order, OrderNumber: "ORD-2024-001234", UserID: user, EventID: event, ReservationID: booking,
				HolderName: "John Doe", TotalAmount: "150.00", Currency: "USD", PaymentMethod: "CREDIT_CARD",
				TransactionID: "txn-987654", Items: []events.OrderItem{{TicketTypeID: kind, Quantity: 2, UnitPrice: "50.00"}},
			},
			"payment-events", order.String(),
			map[string]string{"orderid": order.String(), "userid": user.String()},
			`{"orderId":"cc0e8400-e29b-41d4-a716-446655440000","orderNumber":"ORD-2024-001234",
			"userId":"550e8400-e29b-41d4-a716-446655440000","eventId":"770e8400-e29b-41d4-a716-446655440000",
			"reservationId":"bb0e8400-e29b-41d4-a716-446655440000","holderName":"John Doe",
			"totalAmount":150.00,"currency":"USD","paymentMethod":"CREDIT_CARD","transactionId":"txn-987654",
			"items":[{"ticketTypeId":"990e8400-e29b-41d4-a716-446655440000","quantity":2,"unitPrice":50.00}]}`,
		},
		{
			"PAYMENT_FAILED",
			events.PaymentFailed{
				OrderID: order, UserID: user, EventID: event, ReservationID: booking,
				FailureReason: "INSUFFICIENT_FUNDS", ErrorMessage: "Payment declined by issuing bank",
			},
			"payment-events", order.String(),
			map[string]string{"orderid": order.String(), "userid": user.String()},
			`{"orderId":"cc0e8400-e29b-41d4-a716-446655440000","userId":"550e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","reservationId":"bb0e8400-e29b-41d4-a716-446655440000",
			"failureReason":"INSUFFICIENT_FUNDS","errorMessage":"Payment declined by issuing bank","retryable":false}`,
		},
		{
			"REFUND_PROCESSED",
			events.RefundProcessed{
				OrderID: order, UserID: user, EventID: event, RefundID: "re_1", Amount: "50.00", RefundedTotal: "150.00",
				Currency: "USD", Reason: "TICKETS_UNAVAILABLE", OrderRefunded: true,
			},
			"payment-events", order.String(),
			map[string]string{"orderid": order.String(), "userid": user.String()},
			`{"orderId":"cc0e8400-e29b-41d4-a716-446655440000","userId":"550e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","refundId":"re_1","amount":50.00,"refundedTotal":150.00,
			"currency":"USD","reason":"TICKETS_UNAVAILABLE","orderRefunded":true}`,
		},
		{
			"REFUND_FAILED",
			events.RefundFailed{
				OrderID: order, UserID: user, EventID: event, RefundID: "re_1", Amount: "50.00", RefundedTotal: "100.00",
				Currency: "USD", Reason: "EXPIRED_OR_CANCELED_CARD", Reversed: true,
			},
			"payment-events", order.String(),
			map[string]string{"orderid": order.String(), "userid": user.String()},
			`{"orderId":"cc0e8400-e29b-41d4-a716-446655440000","userId":"550e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","refundId":"re_1","amount":50.00,"refundedTotal":100.00,
			"currency":"USD","reason":"EXPIRED_OR_CANCELED_CARD","reversed":true}`,
		},
		{
			"PAYMENT_DISPUTED",
			events.PaymentDisputed{
				DisputeID: "dp_1", OrderID: order, UserID: user, EventID: event, Amount: "150.00", Currency: "USD",
				Reason: "FRAUDULENT", Status: events.DisputeLost, PreviousStatus: events.DisputeOpen, Revision: 2,
			},
			"payment-events", order.String(),
			map[string]string{"orderid": order.String(), "userid": user.String()},
			`{"disputeId":"dp_1","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"userId":"550e8400-e29b-41d4-a716-446655440000","eventId":"770e8400-e29b-41d4-a716-446655440000",
			"amount":150.00,"currency":"USD","reason":"FRAUDULENT","status":"LOST","previousStatus":"OPEN","revision":2}`,
		},
		{
			"TICKETS_DISPUTED",
			events.TicketsDisputed{
				DisputeID: "dp_1", OrderID: order, EventID: event, UserID: user, TicketCount: 2,
				TicketState: events.TicketsVoid, DisputeStatus: events.DisputeOpen,
			},
			"ticket-events", order.String(),
			map[string]string{"orderid": order.String()},
			`{"disputeId":"dp_1","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","userId":"550e8400-e29b-41d4-a716-446655440000",
			"organizer":false,"ticketCount":2,"ticketState":"VOID","disputeStatus":"OPEN"}`,
		},
		{
			"TICKETS_GENERATED",
			events.TicketsGenerated{OrderID: order, UserID: user, EventID: event, Tickets: []events.Ticket{{
				TicketID: booking, TicketNumber: "TKT-2024-001234", TicketTypeID: kind,
				QRCode: "https://cdn.example.com/qr/dd0e8400.png",
			}}},
			"ticket-events", order.String(),
			map[string]string{"orderid": order.String()},
			`{"orderId":"cc0e8400-e29b-41d4-a716-446655440000","userId":"550e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","tickets":[{
			"ticketId":"bb0e8400-e29b-41d4-a716-446655440000","ticketNumber":"TKT-2024-001234",
			"ticketTypeId":"990e8400-e29b-41d4-a716-446655440000","qrCode":"https://cdn.example.com/qr/dd0e8400.png"}]}`,
		},
		{
			"TICKET_CANCELLED",
			events.TicketCancelled{
				TicketID: booking, TicketNumber: "TKT-2024-001234", TicketTypeID: kind, OrderID: order, UserID: user,
				EventID: event, Reason: "Ill", CancelledBy: events.CancelledByRefund, RefundKey: "refund-1",
			},
			"ticket-events", booking.String(),
			map[string]string{"ticketid": booking.String(), "orderid": order.String()},
			`{"ticketId":"bb0e8400-e29b-41d4-a716-446655440000","ticketNumber":"TKT-2024-001234",
			"ticketTypeId":"990e8400-e29b-41d4-a716-446655440000","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"userId":"550e8400-e29b-41d4-a716-446655440000","eventId":"770e8400-e29b-41d4-a716-446655440000",
			"reason":"Ill","cancelledBy":"REFUND","refundKey":"refund-1"}`,
		},
		{
			"TICKET_TRANSFERRED",
			events.TicketTransferred{TicketID: booking, OrderID: order, EventID: event, FromUserID: user, ToUserID: kind},
			"ticket-events", booking.String(),
			map[string]string{"ticketid": booking.String(), "orderid": order.String()},
			`{"ticketId":"bb0e8400-e29b-41d4-a716-446655440000","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","fromUserId":"550e8400-e29b-41d4-a716-446655440000",
			"toUserId":"990e8400-e29b-41d4-a716-446655440000"}`,
		},
		{
			"TICKET_CHECKED_IN",
			events.TicketCheckedIn{
				TicketID: booking, OrderID: order, EventID: event, TicketTypeID: kind, CheckedInAt: at, Gate: "North",
			},
			"ticket-events", booking.String(),
			map[string]string{"ticketid": booking.String(), "orderid": order.String()},
			`{"ticketId":"bb0e8400-e29b-41d4-a716-446655440000","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","ticketTypeId":"990e8400-e29b-41d4-a716-446655440000",
			"checkedInAt":"2024-07-15T18:00:00Z","gate":"North"}`,
		},
		{
			"TICKET_CHECK_IN_UNDONE",
			events.TicketCheckInUndone{
				TicketID: booking, OrderID: order, EventID: event, TicketTypeID: kind, CheckedInAt: at,
				UndoneAt: at.Add(time.Minute), Reason: "Scanned by mistake",
			},
			"ticket-events", booking.String(),
			map[string]string{"ticketid": booking.String(), "orderid": order.String()},
			`{"ticketId":"bb0e8400-e29b-41d4-a716-446655440000","orderId":"cc0e8400-e29b-41d4-a716-446655440000",
			"eventId":"770e8400-e29b-41d4-a716-446655440000","ticketTypeId":"990e8400-e29b-41d4-a716-446655440000",
			"checkedInAt":"2024-07-15T18:00:00Z","undoneAt":"2024-07-15T18:01:00Z","reason":"Scanned by mistake"}`,
		},
		{
			"EVENT_PUBLISHED",
			events.EventPublished{EventDetails: events.EventDetails{
				EventID: event, OrganizerID: user, EventName: "Summer Music Festival 2024", EventDate: at,
				VenueName: "Central Park Amphitheater", Category: "MUSIC", Status: "PUBLISHED", UpdatedAt: at,
			}},
			"event-events", event.String(),
			map[string]string{"eventid": event.String(), "organizerid": user.String()},
			`{"eventId":"770e8400-e29b-41d4-a716-446655440000","organizerId":"550e8400-e29b-41d4-a716-446655440000",
			"eventName":"Summer Music Festival 2024","eventDate":"2024-07-15T18:00:00Z",
			"venueName":"Central Park Amphitheater","category":"MUSIC","status":"PUBLISHED","updatedAt":"2024-07-15T18:00:00Z"}`,
		},
		{
			"EVENT_CANCELLED",
			events.EventCancelled{
				EventID: event, EventName: "Summer Music Festival 2024", OrganizerID: user,
				CancellationReason: "Venue unavailable", AffectedTicketCount: 150, UpdatedAt: at,
			},
			"event-events", event.String(),
			map[string]string{"eventid": event.String(), "organizerid": user.String()},
			`{"eventId":"770e8400-e29b-41d4-a716-446655440000","eventName":"Summer Music Festival 2024",
			"organizerId":"550e8400-e29b-41d4-a716-446655440000","cancellationReason":"Venue unavailable",
			"affectedTicketCount":150,"updatedAt":"2024-07-15T18:00:00Z"}`,
		},
		{
			"EVENT_UPDATED",
			events.EventUpdated{EventDetails: events.EventDetails{
				EventID: event, OrganizerID: user, EventName: "Summer Music Festival 2024", EventDate: at,
				VenueName: "Central Park Amphitheater", Category: "MUSIC", Status: "PUBLISHED", UpdatedAt: at,
				EndDate: new(at.Add(5 * time.Hour)), VenueAddress: "123 Park Ave",
				Previous: &events.HolderDetails{
					EventName: "Festival", EventDate: at.AddDate(0, -1, 0), EndDate: &at, VenueName: "Hall", VenueAddress: "1 Road",
				},
				PostponedFrom: new(at.AddDate(0, -1, 0)), Reason: "Storm",
			}},
			"event-events", event.String(),
			map[string]string{"eventid": event.String(), "organizerid": user.String()},
			`{"eventId":"770e8400-e29b-41d4-a716-446655440000","organizerId":"550e8400-e29b-41d4-a716-446655440000",
			"eventName":"Summer Music Festival 2024","eventDate":"2024-07-15T18:00:00Z",
			"venueName":"Central Park Amphitheater","category":"MUSIC","status":"PUBLISHED","updatedAt":"2024-07-15T18:00:00Z",
			"endDate":"2024-07-15T23:00:00Z","venueAddress":"123 Park Ave",
			"previous":{"eventName":"Festival","eventDate":"2024-06-15T18:00:00Z","endDate":"2024-07-15T18:00:00Z",
			"venueName":"Hall","venueAddress":"1 Road"},"postponedFrom":"2024-06-15T18:00:00Z","reason":"Storm"}`,
		},
		{
			"EMAIL_VERIFICATION_REQUESTED",
			events.EmailVerificationRequested{AccountMailRequest: events.AccountMailRequest{UserID: user, RequestID: kind}},
			"user-events", user.String(),
			map[string]string{"userid": user.String()},
			`{"userId":"550e8400-e29b-41d4-a716-446655440000","requestId":"990e8400-e29b-41d4-a716-446655440000"}`,
		},
		{
			"PASSWORD_RESET_REQUESTED",
			events.PasswordResetRequested{AccountMailRequest: events.AccountMailRequest{UserID: user, RequestID: kind}},
			"user-events", user.String(),
			map[string]string{"userid": user.String()},
			`{"userId":"550e8400-e29b-41d4-a716-446655440000","requestId":"990e8400-e29b-41d4-a716-446655440000"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.name, tt.payload.Type())
			require.Equal(t, tt.topic, tt.payload.Topic())
			require.Equal(t, tt.subject, tt.payload.Subject())
			require.Equal(t, tt.attributes, tt.payload.Attributes())
			got, err := json.Marshal(tt.payload)
			require.NoError(t, err)
			require.JSONEq(t, tt.json, string(got))
		})
	}
}
