package couriertest

// The ids in the contract's examples.
const (
	UserID   = "550e8400-e29b-41d4-a716-446655440000"
	EventID  = "770e8400-e29b-41d4-a716-446655440000"
	OrderID  = "cc0e8400-e29b-41d4-a716-446655440000"
	TicketID = "dd0e8400-e29b-41d4-a716-446655440000"

	ticketTypeID  = "990e8400-e29b-41d4-a716-446655440000"
	reservationID = "bb0e8400-e29b-41d4-a716-446655440000"
)

// More ids.
const (
	OtherUserID = "660e8400-e29b-41d4-a716-446655440001" // to whom a ticket is transferred
	RequestID   = "220e8400-e29b-41d4-a716-446655440000" // of an account mail
)

// The paths that the courier calls.
const (
	EmailPath     = "/api/email/internal/messages"
	UserPath      = "/api/auth/internal/users/" + UserID
	OtherUserPath = "/api/auth/internal/users/" + OtherUserID
	RequestPath   = "/api/auth/internal/account-mails/" + RequestID
	EventPath     = "/api/events/internal/" + EventID
	OrderPath     = "/api/payments/internal/orders/" + OrderID
	TicketPath    = "/api/tickets/internal/" + TicketID
	OrderPDFPath  = "/api/tickets/internal/orders/" + OrderID + "/pdf?userId=" + UserID
	PDFPath       = "/api/tickets/internal/" + TicketID + "/ticket.pdf?userId=" + UserID
)

// Payloads of events. Most are the contract's examples.
const (
	TicketsGenerated = `{"orderId": "` + OrderID + `", "userId": "` + UserID + `", "eventId": "` + EventID + `",
		"tickets": [` + GeneratedTicket + `]}`
	GeneratedTicket = `{"ticketId": "` + TicketID + `", "ticketNumber": "TKT-2024-001234",
		"qrCode": "https://cdn.example.com/qr/dd0e8400.png"}`
	PaymentFailed = `{"orderId": "` + OrderID + `", "userId": "` + UserID + `", "eventId": "` + EventID + `",
		"reservationId": "` + reservationID + `", "failureReason": "INSUFFICIENT_FUNDS",
		"errorMessage": "Payment declined by issuing bank", "retryable": false}`
	PaymentCompleted = `{"orderId": "` + OrderID + `", "orderNumber": "ORD-2024-001234", "userId": "` + UserID + `",
		"eventId": "` + EventID + `", "totalAmount": 150.00, "currency": "USD", "paymentMethod": "CREDIT_CARD",
		"transactionId": "txn-987654",
		"items": [{"ticketTypeId": "` + ticketTypeID + `", "quantity": 2, "unitPrice": 50.00}]}`
	RefundProcessed = `{"orderId": "` + OrderID + `", "userId": "` + UserID + `", "eventId": "` + EventID + `",
		"refundId": "re_1", "amount": 50.00, "refundedTotal": 50.00, "currency": "USD", "reason": "One act less",
		"orderRefunded": false}`
	RefundFailed = `{"orderId": "` + OrderID + `", "userId": "` + UserID + `", "eventId": "` + EventID + `",
		"refundId": "re_1", "amount": 50.00, "refundedTotal": 0.00, "currency": "USD",
		"reason": "EXPIRED_OR_CANCELED_CARD", "reversed": true}`
	PaymentDisputed = `{"disputeId": "dp_1", "orderId": "` + OrderID + `", "userId": "` + UserID + `",
		"eventId": "` + EventID + `", "amount": 100.00, "currency": "USD", "reason": "FRAUDULENT", "status": "OPEN",
		"revision": 1}`
	TicketsSuspended = `{"disputeId": "dp_1", "orderId": "` + OrderID + `", "eventId": "` + EventID + `",
		"userId": "` + OtherUserID + `", "organizer": false, "ticketCount": 1, "ticketState": "SUSPENDED",
		"disputeStatus": "OPEN"}`
	OrderDisputed = `{"disputeId": "dp_1", "orderId": "` + OrderID + `", "eventId": "` + EventID + `",
		"userId": "` + UserID + `", "organizer": true, "ticketCount": 2, "ticketState": "SUSPENDED",
		"disputeStatus": "OPEN", "amount": 100.00, "currency": "USD", "reason": "FRAUDULENT"}`
	TicketTransferred = `{"ticketId": "` + TicketID + `", "orderId": "` + OrderID + `", "eventId": "` + EventID + `",
		"fromUserId": "` + UserID + `", "toUserId": "` + OtherUserID + `"}`
	TicketCancelled = `{"ticketId": "` + TicketID + `", "ticketNumber": "TKT-2024-001234",
		"ticketTypeId": "` + ticketTypeID + `", "orderId": "` + OrderID + `", "userId": "` + UserID + `",
		"eventId": "` + EventID + `", "reason": "Ill", "cancelledBy": "OWNER"}`
	EventCancelled = `{"eventId": "` + EventID + `", "eventName": "Summer Music Festival 2024",
		"organizerId": "` + UserID + `", "cancellationReason": "Storm", "affectedTicketCount": 3,
		"updatedAt": "2024-01-15T10:31:00Z"}`
	EventUpdated = `{"eventId": "` + EventID + `", "organizerId": "` + UserID + `",
		"eventName": "Summer Music Festival 2024", "eventDate": "2024-07-20T18:00:00Z",
		"venueName": "Central Park Amphitheater", "category": "MUSIC", "status": "PUBLISHED",
		"updatedAt": "2024-01-15T10:31:00Z"}`
	CompensationFailed = `{"orderId": "` + OrderID + `", "reservationId": "` + reservationID + `",
		"reason": "SERVICE_UNAVAILABLE", "step": "REFUND", "attempts": 7}`
	DeadLetterArchived = `{"service": "ticket-service", "queue": "ticket-processing-queue", "deadLetterId": "m-1",
		"eventId": "` + OrderID + `", "eventType": "PAYMENT_COMPLETED", "reason": "no such user: john@example.com",
		"firstSeen": "2024-01-15T10:31:00Z"}`
	AccountMailRequested = `{"userId": "` + UserID + `", "requestId": "` + RequestID + `"}`
)

// Answers of the other services.
const (
	AccountMail = `{"requestId": "` + RequestID + `", "userId": "` + UserID + `", "email": "user@example.com",
		"firstName": "John", "kind": "EMAIL_VERIFICATION", "token": "a+b/c", "expiresAt": "2024-01-17T10:30:00Z"}`
	User = `{"userId": "` + UserID + `", "email": "user@example.com", "firstName": "John", "lastName": "Doe",
		"emailVerified": true, "createdAt": "2024-01-01T10:00:00Z"}`
	OtherUser = `{"userId": "` + OtherUserID + `", "email": "jane@example.com", "firstName": "Jane",
		"lastName": "Smith", "emailVerified": true, "createdAt": "2024-01-01T10:00:00Z"}`
	Ticket = `{"ticketId": "` + TicketID + `", "ticketNumber": "TKT-2024-001234", "ticketTypeId": "` + ticketTypeID + `",
		"eventId": "` + EventID + `", "orderId": "` + OrderID + `", "holderName": "Jane Smith",
		"qrCode": "https://cdn.example.com/qr/dd0e8400.png", "status": "ACTIVE", "createdAt": "2024-01-15T10:30:00Z"}`
	Event = `{"eventId": "` + EventID + `", "organizerId": "` + UserID + `", "name": "Summer Music Festival 2024",
		"description": "Annual outdoor music festival", "eventDate": "2024-07-15T18:00:00Z",
		"venueName": "Central Park Amphitheater", "venueAddress": "123 Park Ave, New York, NY 10001",
		"category": "MUSIC", "status": "PUBLISHED", "imageUrl": ""}`
	Order = `{"orderId": "` + OrderID + `", "orderNumber": "ORD-2024-001234", "userId": "` + UserID + `",
		"eventId": "` + EventID + `", "totalAmount": 100.00, "currency": "USD", "paymentStatus": "COMPLETED",
		"paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "` + ticketTypeID + `", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"createdAt": "2024-01-15T10:30:00Z", "completedAt": "2024-01-15T10:31:00Z"}`
)
