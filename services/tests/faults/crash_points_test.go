//go:build crash

package faults_test

// requestInTransit is a request that an app has not received yet. It arrives even if its sender dies meanwhile.
func requestInTransit(app, path string) breakpoint { return breakpoint{app: app, path: path} }

// requestLost is a request that never reaches the app, as if it had not been sent.
func requestLost(app, path string) breakpoint { return breakpoint{app: app, path: path, lost: true} }

// answerInTransit is a request that took effect and whose answer the caller has not received yet.
func answerInTransit(app, path string) breakpoint {
	return breakpoint{app: app, path: path, answered: true}
}

// eventInTransit is an event that an app has not received yet.
func eventInTransit(app, eventType string) breakpoint { return breakpoint{app: app, event: eventType} }

// ackInTransit is an event that took effect and whose acknowledgement the sidecar has not received yet.
func ackInTransit(app, eventType string) breakpoint {
	return breakpoint{app: app, event: eventType, answered: true}
}

// uncommitted is a statement such as "INSERT ON orders" that is executed and not committed. The condition when selects
// its row.
func uncommitted(statement, when string) breakpoint {
	return breakpoint{statement: statement, when: when}
}

// uncommittedEvent is a transaction that is not committed and whose last statement writes the event to the outbox.
func uncommittedEvent(eventType string) breakpoint {
	return uncommitted("INSERT ON outbox",
		"NEW.cloud_event ->> 'type' = '"+eventType+"' AND NEW.cloud_event ->> 'correlationid' = '{trace}'")
}

// publishedUnmarked is an event that is published, and whose mark as published is not committed.
func publishedUnmarked(eventType string) breakpoint {
	return publishedUnmarkedIn("<> 'event-updates.fifo'", eventType)
}

// orderedPublishedUnmarked is the same for an event of the ordered topic.
func orderedPublishedUnmarked(eventType string) breakpoint {
	return publishedUnmarkedIn("= 'event-updates.fifo'", eventType)
}

func publishedUnmarkedIn(topic, eventType string) breakpoint {
	return uncommitted("UPDATE ON outbox",
		"OLD.published_at IS NULL AND NEW.published_at IS NOT NULL AND NEW.topic "+topic+
			" AND NEW.cloud_event ->> 'type' = '"+eventType+"' AND NEW.cloud_event ->> 'correlationid' = '{trace}'")
}

// The requests with crash points.
const (
	reserve       = "/api/tickets/internal/reserve"
	release       = "/api/tickets/internal/release-reservation"
	cancelTickets = "/api/tickets/internal/cancel"
	charge        = "/api/gateway/internal/charges"
	refund        = "/api/gateway/internal/refunds"
	sendMail      = "/api/email/internal/messages"
)

// crashPoints come after paymentPoints and before lastPoints. They are in the order of the test. Those after which a
// queue hides an event for some time come last. Otherwise the queue could deliver the event again to a process that is
// being killed for another point. Crashes during a charge are spread out, because one circuit breaker counts all of
// them.
var crashPoints = []crashPoint{
	// A purchase, from the order to the charge.
	{
		"payment-service dies before it commits the order",
		buying, uncommitted("INSERT ON orders", "NEW.event_id = '{event}'"), paymentService, bought,
	},
	{
		"payment-service dies after it committed the order, before it sends reserve",
		buying, requestLost(ticketService, reserve), paymentService, abandoned,
	},
	{
		"payment-service dies while reserve is in transit",
		buying, requestInTransit(ticketService, reserve), paymentService, abandoned,
	},
	{
		"payment-service dies before it receives the answer to reserve",
		buying, answerInTransit(ticketService, reserve), paymentService, abandoned,
	},
	{
		"payment-service dies before it commits that the tickets are held",
		buying, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'CHARGE'"),
		paymentService, abandoned,
	},
	{
		"payment-service dies before it sends the charge",
		buying, requestLost(paymentGateway, charge), paymentService, bought,
	},
	{
		"payment-service dies before it commits that the card is charged",
		buying, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'FULFIL'"),
		paymentService, bought,
	},
	{
		"payment-service dies before it commits PAYMENT_COMPLETED",
		buying, uncommittedEvent("PAYMENT_COMPLETED"), paymentService, bought,
	},
	{
		"ticket-service dies before it receives reserve",
		buying, requestInTransit(ticketService, reserve), ticketService, bought,
	},
	{
		"ticket-service dies before it commits the reservation",
		buying, uncommitted("INSERT ON reservation_lines", "NEW.ticket_type_id = '{type}'"), ticketService, bought,
	},
	{
		"ticket-service dies before it commits a batch of reservations",
		buyingAtOnce, uncommitted("UPDATE ON ticket_types", "NEW.id = '{type}' AND NEW.held > OLD.held + 2"),
		ticketService, boughtByAll,
	},
	{
		"ticket-service dies after it committed the reservation, before its answer arrives",
		buying, answerInTransit(ticketService, reserve), ticketService, bought,
	},

	// A declined card.
	{
		"payment-service dies before it commits that the card was declined",
		declining, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'RELEASE'"),
		paymentService, declined,
	},
	{
		"payment-service dies before it sends release",
		declining, requestLost(ticketService, release), paymentService, declined,
	},
	{
		"payment-service dies before it receives the answer to release",
		declining, answerInTransit(ticketService, release), paymentService, declined,
	},
	{
		"payment-service dies before it commits that the tickets are released",
		declining, uncommitted("UPDATE ON orders",
			"NEW.event_id = '{event}' AND OLD.step = 'RELEASE' AND NEW.step = 'DONE'"),
		paymentService, declined,
	},
	{
		"payment-service dies after it published PAYMENT_FAILED, before it marks it",
		declining, publishedUnmarked("PAYMENT_FAILED"), paymentService, declined,
	},

	// A refund.
	{
		"payment-service dies before it commits the refund",
		refunding, uncommitted("INSERT ON refunds", "NEW.correlation_id = '{trace}'"), paymentService, refunded,
	},
	{
		"payment-service dies before it sends the cancellation of the tickets",
		refunding, requestLost(ticketService, cancelTickets), paymentService, refunded,
	},
	{
		"payment-service dies before it receives the answer to the cancellation of the tickets",
		refunding, answerInTransit(ticketService, cancelTickets), paymentService, refunded,
	},
	{
		"payment-service dies before it commits that the tickets are cancelled",
		refunding, uncommitted("UPDATE ON refunds", "NEW.correlation_id = '{trace}' AND NEW.step = 'REFUND'"),
		paymentService, refunded,
	},
	{
		"payment-service dies before it sends the refund",
		refunding, requestLost(paymentGateway, refund), paymentService, refunded,
	},
	{
		"payment-service dies before it receives the answer to the refund",
		refunding, answerInTransit(paymentGateway, refund), paymentService, refunded,
	},
	{
		"payment-service dies before it commits that the refund succeeded",
		refunding, uncommitted("UPDATE ON refunds", "NEW.correlation_id = '{trace}' AND NEW.status = 'SUCCEEDED'"),
		paymentService, refunded,
	},
	{
		"payment-service dies after it published REFUND_PROCESSED, before it marks it",
		refunding, publishedUnmarked("REFUND_PROCESSED"), paymentService, refunded,
	},

	// Actions on tickets, accounts and events.
	{
		"ticket-service dies before it commits a transfer",
		transferring, uncommittedEvent("TICKET_TRANSFERRED"), ticketService, transferred,
	},
	{
		"ticket-service dies after it published TICKET_TRANSFERRED, before it marks it",
		transferring, publishedUnmarked("TICKET_TRANSFERRED"), ticketService, transferred,
	},
	{
		"ticket-service dies before it commits a cancellation",
		cancellingTicket, uncommittedEvent("TICKET_CANCELLED"), ticketService, ticketCancelled,
	},
	{
		"ticket-service dies before it commits the release of an expired hold",
		expiring, uncommitted("UPDATE ON reservations", "NEW.event_id = '{event}' AND NEW.status = 'EXPIRED'"),
		ticketService, nothing,
	},
	{
		"auth-service dies before it commits a registration",
		registering, uncommitted("INSERT ON users", "NEW.email = '{email}'"), authService, registered,
	},
	{
		"auth-service dies after it published EMAIL_VERIFICATION_REQUESTED, before it marks it",
		registering, publishedUnmarked("EMAIL_VERIFICATION_REQUESTED"), authService, registered,
	},
	{
		"event-service dies before it commits that an event is published",
		publishing, uncommittedEvent("EVENT_PUBLISHED"), eventService, nothing,
	},
	{
		"event-service dies after it published EVENT_PUBLISHED, before it marks it",
		publishing, publishedUnmarked("EVENT_PUBLISHED"), eventService, nothing,
	},
	{
		"event-service dies after it published EVENT_PUBLISHED to the ordered topic, before it marks it",
		publishing, orderedPublishedUnmarked("EVENT_PUBLISHED"), eventService, nothing,
	},

	// The cancellation of an event.
	{
		"event-service dies before it commits that an event is cancelled",
		cancelling, uncommittedEvent("EVENT_CANCELLED"), eventService, eventCancelled,
	},
	{
		"event-service dies after it published EVENT_CANCELLED, before it marks it",
		cancelling, publishedUnmarked("EVENT_CANCELLED"), eventService, eventCancelled,
	},
	{
		"payment-service dies before it commits the refund of a cancelled event's order",
		cancellingAndSweeping, uncommitted("INSERT ON refunds", "NEW.correlation_id = '{trace}'"),
		paymentService, eventCancelled,
	},
	{
		"payment-service dies between two batches of a cancelled event's orders",
		cancellingLarge, uncommitted("UPDATE ON event_refunds",
			"NEW.event_id = '{event}' AND NEW.done AND OLD.last_order_id <> '00000000-0000-0000-0000-000000000000'"),
		paymentService, largeEventCancelled,
	},
	{
		"ticket-service dies between two batches of a cancelled event's tickets",
		cancellingLarge, uncommitted("UPDATE ON event_cancellations",
			"NEW.event_id = '{event}' AND OLD.tickets_cancelled > 0"),
		ticketService, largeEventCancelled,
	},

	// A declined card and a refund, where the callee dies.
	{
		"ticket-service dies before it receives release",
		declining, requestInTransit(ticketService, release), ticketService, declined,
	},
	{
		"ticket-service dies before it commits the release",
		declining, uncommitted("UPDATE ON reservations", "NEW.event_id = '{event}' AND NEW.status = 'CANCELLED'"),
		ticketService, declined,
	},
	{
		"ticket-service dies after it committed the release, before its answer arrives",
		declining, answerInTransit(ticketService, release), ticketService, declined,
	},
	{
		"ticket-service dies before it receives the cancellation of the tickets",
		refunding, requestInTransit(ticketService, cancelTickets), ticketService, refunded,
	},
	{
		"ticket-service dies before it commits the cancellation of the tickets",
		refunding, uncommittedEvent("TICKET_CANCELLED"), ticketService, refunded,
	},
	{
		"ticket-service dies after it committed the cancellation of the tickets, before its answer arrives",
		refunding, answerInTransit(ticketService, cancelTickets), ticketService, refunded,
	},
	{
		"payment-gateway dies after the refund, before its answer arrives",
		refunding, answerInTransit(paymentGateway, refund), paymentGateway, refunded,
	},

	// Events of the queues that hide an event for a minute. First those of ticket-service's queue.
	{
		"ticket-service dies before it receives PAYMENT_COMPLETED",
		buying, eventInTransit(ticketService, "PAYMENT_COMPLETED"), ticketService, bought,
	},
	{
		"ticket-service dies before it receives PAYMENT_COMPLETED, and the hold expires",
		expiredWhileDown, eventInTransit(ticketService, "PAYMENT_COMPLETED"), ticketService, bought,
	},
	{
		"ticket-service dies before it receives PAYMENT_COMPLETED, the hold expires and the event sells out",
		soldOutWhileDown, eventInTransit(ticketService, "PAYMENT_COMPLETED"), ticketService, notFulfilled,
	},
	{
		"payment-service dies while the charge is in transit",
		buying, requestInTransit(paymentGateway, charge), paymentService, bought,
	},
	{
		"ticket-service dies before it commits the tickets",
		buying, uncommitted("INSERT ON tickets", "NEW.event_id = '{event}'"), ticketService, bought,
	},
	{
		"ticket-service dies after it committed the tickets, before it acknowledges PAYMENT_COMPLETED",
		buying, ackInTransit(ticketService, "PAYMENT_COMPLETED"), ticketService, bought,
	},
	{
		"ticket-service dies after it published TICKETS_GENERATED, before it marks it",
		buying, publishedUnmarked("TICKETS_GENERATED"), ticketService, bought,
	},
	{
		"payment-service dies before it receives the answer to the charge",
		buying, answerInTransit(paymentGateway, charge), paymentService, bought,
	},
	{
		"ticket-service dies before it commits TICKET_GENERATION_FAILED",
		soldOutBeforePayment, uncommittedEvent("TICKET_GENERATION_FAILED"), ticketService, notFulfilled,
	},
	{
		"ticket-service dies after it published TICKET_GENERATION_FAILED, before it marks it",
		soldOutBeforePayment, publishedUnmarked("TICKET_GENERATION_FAILED"), ticketService, notFulfilled,
	},
	{
		"payment-gateway dies before it receives the charge",
		buying, requestInTransit(paymentGateway, charge), paymentGateway, bought,
	},
	{
		"ticket-service dies before it acknowledges PAYMENT_FAILED",
		declining, ackInTransit(ticketService, "PAYMENT_FAILED"), ticketService, declined,
	},
	{
		"ticket-service dies before it commits that it received EVENT_CANCELLED",
		cancelling, uncommitted("INSERT ON event_cancellations", "NEW.event_id = '{event}'"),
		ticketService, eventCancelled,
	},
	{
		"ticket-service dies before it commits a batch of cancelled tickets",
		cancelling, uncommittedEvent("TICKET_CANCELLED"), ticketService, eventCancelled,
	},
	{
		"ticket-service dies after it published TICKET_CANCELLED, before it marks it",
		cancelling, publishedUnmarked("TICKET_CANCELLED"), ticketService, eventCancelled,
	},
	{
		"ticket-service dies before it commits a dead letter",
		discarding, uncommitted("INSERT ON dead_letters", "NEW.body LIKE '%{trace}%'"), ticketService, nothing,
	},
	{
		"ticket-service dies after it archived a dead letter, before the queue deletes it",
		discarding, answerInTransit(ticketService, "/bindings/dead-letters"), ticketService, nothing,
	},
	{
		"ticket-service dies before it commits that a dead letter is redriven",
		redriving, uncommitted("UPDATE ON dead_letters", "NEW.body LIKE '%{event}%' AND NEW.state = 'REDRIVEN'"),
		ticketService, bought,
	},

	// Then those of payment-service's queue.
	{
		"payment-service dies after it published PAYMENT_COMPLETED, before it marks it",
		buying, publishedUnmarked("PAYMENT_COMPLETED"), paymentService, bought,
	},
	{
		"payment-service dies before it receives TICKETS_GENERATED",
		buying, eventInTransit(paymentService, "TICKETS_GENERATED"), paymentService, bought,
	},
	{
		"payment-service dies before it commits that the tickets are generated",
		buying, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND OLD.step = 'FULFIL'"),
		paymentService, bought,
	},
	{
		"payment-gateway dies after the charge, before its answer arrives",
		buying, answerInTransit(paymentGateway, charge), paymentGateway, bought,
	},
	{
		"payment-service dies before it acknowledges TICKETS_GENERATED",
		buying, ackInTransit(paymentService, "TICKETS_GENERATED"), paymentService, bought,
	},
	{
		"payment-service dies before it receives TICKET_GENERATION_FAILED",
		soldOutBeforePayment, eventInTransit(paymentService, "TICKET_GENERATION_FAILED"), paymentService, notFulfilled,
	},
	{
		"payment-service dies before it commits the refund of an order without tickets",
		soldOutBeforePayment, uncommitted("INSERT ON refunds", "NEW.correlation_id = '{trace}'"),
		paymentService, notFulfilled,
	},
	{
		"payment-service dies before it acknowledges TICKET_GENERATION_FAILED",
		soldOutBeforePayment, ackInTransit(paymentService, "TICKET_GENERATION_FAILED"), paymentService, notFulfilled,
	},
	{
		"payment-service dies before it receives the answer that the card was declined",
		declining, answerInTransit(paymentGateway, charge), paymentService, declined,
	},
	{
		"payment-service dies before it acknowledges EVENT_CANCELLED",
		cancelling, ackInTransit(paymentService, "EVENT_CANCELLED"), paymentService, eventCancelled,
	},

	// At last the events of the queues that hide an event for half a minute.
	{
		"notification-service dies before it receives TICKETS_GENERATED",
		buying, eventInTransit(notificationService, "TICKETS_GENERATED"), notificationService, bought,
	},
	{
		"notification-service dies before it commits a notification",
		buying, uncommitted("INSERT ON notifications", "NEW.facts ->> 'eventId' = '{event}'"),
		notificationService, bought,
	},
	{
		"notification-service dies before it commits the notifications of a postponed event",
		postponing, uncommitted("INSERT ON notifications",
			"NEW.facts ->> 'eventId' = '{event}' AND NEW.kind = 'EVENT_POSTPONED'"),
		notificationService, eventPostponed,
	},
	{
		"notification-service dies before it commits the announcement of a changed event",
		changing, uncommitted("INSERT ON announcements", "NEW.about = '{event}'"), notificationService, eventChanged,
	},
	{
		"notification-service dies before it commits the notifications of a changed event",
		changing, uncommitted("INSERT ON notifications",
			"NEW.facts ->> 'eventId' = '{event}' AND NEW.kind = 'EVENT_CHANGED'"),
		notificationService, eventChanged,
	},
	{
		"notification-service dies while its mail is in transit to email-service",
		buying, requestInTransit(emailService, sendMail), notificationService, bought,
	},
	{
		"notification-service dies before it receives the answer of email-service",
		buying, answerInTransit(emailService, sendMail), notificationService, bought,
	},
	{
		"notification-service dies before it commits that the mail is sent",
		buying, uncommitted("UPDATE ON notifications",
			"NEW.facts ->> 'eventId' = '{event}' AND NEW.status = 'SENT'"),
		notificationService, bought,
	},
	{
		"notification-service dies between the two mails of a transfer",
		transferring, uncommitted("UPDATE ON notifications",
			"NEW.facts ->> 'eventId' = '{event}' AND NEW.kind = 'TICKET_RECEIVED' AND NEW.status = 'SENT'"),
		notificationService, transferred,
	},
	{
		"notification-service dies before it acknowledges TICKETS_GENERATED",
		buying, ackInTransit(notificationService, "TICKETS_GENERATED"), notificationService, bought,
	},
	{
		"email-service dies before it receives the mail",
		buying, requestInTransit(emailService, sendMail), emailService, bought,
	},
	{
		"email-service dies after it sent the mail, before its answer arrives",
		buying, answerInTransit(emailService, sendMail), emailService, bought,
	},
	{
		"analytics-service dies before it receives PAYMENT_COMPLETED",
		buying, eventInTransit(analyticsService, "PAYMENT_COMPLETED"), analyticsService, bought,
	},
	{
		"analytics-service dies before it commits a sale",
		buying, uncommitted("INSERT ON ticket_type_sales", "NEW.event_id = '{event}'"), analyticsService, bought,
	},
	{
		"analytics-service dies before it acknowledges TICKETS_GENERATED",
		buying, ackInTransit(analyticsService, "TICKETS_GENERATED"), analyticsService, bought,
	},
}
