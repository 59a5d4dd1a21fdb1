//go:build crash

package faults_test

// arriving is a request that is on its way to an app. Its sender may die meanwhile: it arrives all the same.
func arriving(app, path string) spot { return spot{app: app, path: path} }

// vanishing is one that does not arrive.
func vanishing(app, path string) spot { return spot{app: app, path: path, lost: true} }

// answered is a request that has had its effect, with the answer on its way.
func answered(app, path string) spot { return spot{app: app, path: path, answered: true} }

// delivering is an event on its way to an app.
func delivering(app, eventType string) spot { return spot{app: app, event: eventType} }

// acknowledging is an event that has had its effect, with the answer on its way.
func acknowledging(app, eventType string) spot {
	return spot{app: app, event: eventType, answered: true}
}

// writing is a statement, such as "INSERT ON orders", that is carried out and not committed: its row is what when says.
func writing(statement, when string) spot { return spot{statement: statement, when: when} }

// announcing is the writing of an event in the transaction of what it tells of, as the last of it.
func announcing(eventType string) spot {
	return writing("INSERT ON outbox", "NEW.cloud_event ->> 'type' = '"+eventType+"' AND NEW.cloud_event ->> 'correlationid' = '{trace}'")
}

// published is an event that is published, and is just being marked as such.
func published(eventType string) spot { return publishedTo("<> 'event-updates.fifo'", eventType) }

// publishedInOrder is one of the topic that keeps its order.
func publishedInOrder(eventType string) spot { return publishedTo("= 'event-updates.fifo'", eventType) }

func publishedTo(topic, eventType string) spot {
	return writing("UPDATE ON outbox", "OLD.published_at IS NULL AND NEW.published_at IS NOT NULL AND NEW.topic "+topic+
		" AND NEW.cloud_event ->> 'type' = '"+eventType+"' AND NEW.cloud_event ->> 'correlationid' = '{trace}'")
}

// Requests on whose way processes die.
const (
	reserve = "/api/tickets/internal/reserve"
	release = "/api/tickets/internal/release-reservation"
	void    = "/api/tickets/internal/cancel"
	charge  = "/api/gateway/internal/charges"
	repay   = "/api/gateway/internal/refunds"
	mailing = "/api/email/internal/messages"
)

// crashPoints are in the order in which they are struck. Those after which a queue hides an event for a time come last, so
// that hardly any is delivered again to a process that is just being killed for another point. Deaths during a charge are
// spread, since a circuit breaker counts them all.
var crashPoints = []point{
	// A purchase, from its order to the charge.
	{"payment-service dies before the order is committed", buying, writing("INSERT ON orders", "NEW.event_id = '{event}'"), paymentService, bought},
	{"payment-service dies with the order written and reserve not sent", buying, vanishing(ticketService, reserve), paymentService, abandoned},
	{"payment-service dies with reserve on its way", buying, arriving(ticketService, reserve), paymentService, abandoned},
	{"payment-service dies with the tickets held and no answer", buying, answered(ticketService, reserve), paymentService, abandoned},
	{"payment-service dies writing that the tickets are held", buying, writing("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'CHARGE'"), paymentService, abandoned},
	{"payment-service dies with the charge not sent", buying, vanishing(paymentGateway, charge), paymentService, bought},
	{"payment-service dies writing that the charge is made", buying, writing("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'FULFIL'"), paymentService, bought},
	{"payment-service dies writing PAYMENT_COMPLETED", buying, announcing("PAYMENT_COMPLETED"), paymentService, bought},
	{"ticket-service dies with reserve not seen", buying, arriving(ticketService, reserve), ticketService, bought},
	{"ticket-service dies with the tickets held and not committed", buying, writing("INSERT ON reservation_lines", "NEW.ticket_type_id = '{type}'"), ticketService, bought},
	{"ticket-service dies with the tickets of several held and not committed", rushing, writing("UPDATE ON ticket_types", "NEW.id = '{type}' AND NEW.held > OLD.held + 2"), ticketService, rushed},
	{"ticket-service dies with the tickets held, before it says so", buying, answered(ticketService, reserve), ticketService, bought},

	// A card is declined.
	{"payment-service dies writing that the card was declined", declining, writing("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'RELEASE'"), paymentService, notPaid},
	{"payment-service dies with release not sent", declining, vanishing(ticketService, release), paymentService, notPaid},
	{"payment-service dies with the tickets released and no answer", declining, answered(ticketService, release), paymentService, notPaid},
	{"payment-service dies writing that the tickets are released", declining, writing("UPDATE ON orders", "NEW.event_id = '{event}' AND OLD.step = 'RELEASE' AND NEW.step = 'DONE'"), paymentService, notPaid},
	{"payment-service dies with PAYMENT_FAILED published and not marked", declining, published("PAYMENT_FAILED"), paymentService, notPaid},

	// A refund.
	{"payment-service dies before the refund is committed", refunding, writing("INSERT ON refunds", "NEW.correlation_id = '{trace}'"), paymentService, refunded},
	{"payment-service dies with the cancellation of the tickets not sent", refunding, vanishing(ticketService, void), paymentService, refunded},
	{"payment-service dies with the tickets cancelled and no answer", refunding, answered(ticketService, void), paymentService, refunded},
	{"payment-service dies writing that the tickets are cancelled", refunding, writing("UPDATE ON refunds", "NEW.correlation_id = '{trace}' AND NEW.step = 'REFUND'"), paymentService, refunded},
	{"payment-service dies with the refund not sent", refunding, vanishing(paymentGateway, repay), paymentService, refunded},
	{"payment-service dies with the money back and no answer", refunding, answered(paymentGateway, repay), paymentService, refunded},
	{"payment-service dies writing that the money is back", refunding, writing("UPDATE ON refunds", "NEW.correlation_id = '{trace}' AND NEW.status = 'SUCCEEDED'"), paymentService, refunded},
	{"payment-service dies with REFUND_PROCESSED published and not marked", refunding, published("REFUND_PROCESSED"), paymentService, refunded},

	// What people do with their tickets, and with themselves.
	{"ticket-service dies writing that a ticket is given away", transferring, announcing("TICKET_TRANSFERRED"), ticketService, transferred},
	{"ticket-service dies with TICKET_TRANSFERRED published and not marked", transferring, published("TICKET_TRANSFERRED"), ticketService, transferred},
	{"ticket-service dies writing that a ticket is returned", returning, announcing("TICKET_CANCELLED"), ticketService, returned},
	{"ticket-service dies sweeping a hold that is over", holding, writing("UPDATE ON reservations", "NEW.event_id = '{event}' AND NEW.status = 'EXPIRED'"), ticketService, nothing},
	{"auth-service dies writing who registered", registering, writing("INSERT ON users", "NEW.email = '{email}'"), authService, registered},
	{"auth-service dies with EMAIL_VERIFICATION_REQUESTED published and not marked", registering, published("EMAIL_VERIFICATION_REQUESTED"), authService, registered},
	{"event-service dies writing that an event is on sale", publishing, announcing("EVENT_PUBLISHED"), eventService, nothing},
	{"event-service dies with EVENT_PUBLISHED published and not marked", publishing, published("EVENT_PUBLISHED"), eventService, nothing},
	{"event-service dies with an update published in its order and not marked", publishing, publishedInOrder("EVENT_PUBLISHED"), eventService, nothing},

	// An event is cancelled.
	{"event-service dies writing that an event is cancelled", cancelling, announcing("EVENT_CANCELLED"), eventService, calledOff},
	{"event-service dies with EVENT_CANCELLED published and not marked", cancelling, published("EVENT_CANCELLED"), eventService, calledOff},
	{"payment-service dies beginning the refund of a cancelled event's order", callingOff, writing("INSERT ON refunds", "NEW.correlation_id = '{trace}'"), paymentService, calledOff},
	{"payment-service dies between two batches of a cancelled event's orders", callingManyOff, writing("UPDATE ON event_refunds", "NEW.event_id = '{event}' AND NEW.done AND OLD.last_order_id <> '00000000-0000-0000-0000-000000000000'"), paymentService, manyCalledOff},
	{"ticket-service dies between two batches of a cancelled event's tickets", callingManyOff, writing("UPDATE ON event_cancellations", "NEW.event_id = '{event}' AND OLD.tickets_cancelled > 0"), ticketService, manyCalledOff},

	// A card is declined, and money goes back, and it is the others who die.
	{"ticket-service dies with release not seen", declining, arriving(ticketService, release), ticketService, notPaid},
	{"ticket-service dies with the tickets released and not committed", declining, writing("UPDATE ON reservations", "NEW.event_id = '{event}' AND NEW.status = 'CANCELLED'"), ticketService, notPaid},
	{"ticket-service dies with the tickets released, before it says so", declining, answered(ticketService, release), ticketService, notPaid},
	{"ticket-service dies with the cancellation of the tickets not seen", refunding, arriving(ticketService, void), ticketService, refunded},
	{"ticket-service dies with the tickets cancelled and not committed", refunding, announcing("TICKET_CANCELLED"), ticketService, refunded},
	{"ticket-service dies with the tickets cancelled, before it says so", refunding, answered(ticketService, void), ticketService, refunded},
	{"payment-gateway dies with the money back, before it says so", refunding, answered(paymentGateway, repay), paymentGateway, refunded},

	// What the queues that hide events for a minute bring. First a paid order to ticket-service, ...
	{"ticket-service dies with PAYMENT_COMPLETED not seen", buying, delivering(ticketService, "PAYMENT_COMPLETED"), ticketService, bought},
	{"ticket-service dies with the hold over, to which the payment comes", late, delivering(ticketService, "PAYMENT_COMPLETED"), ticketService, bought},
	{"ticket-service dies with the hold over and nothing left, to which the payment comes", tooLate, delivering(ticketService, "PAYMENT_COMPLETED"), ticketService, notIssued},
	{"payment-service dies with the charge on its way", buying, arriving(paymentGateway, charge), paymentService, bought},
	{"ticket-service dies with the tickets issued and not committed", buying, writing("INSERT ON tickets", "NEW.event_id = '{event}'"), ticketService, bought},
	{"ticket-service dies with the tickets issued and not acknowledged", buying, acknowledging(ticketService, "PAYMENT_COMPLETED"), ticketService, bought},
	{"ticket-service dies with TICKETS_GENERATED published and not marked", buying, published("TICKETS_GENERATED"), ticketService, bought},
	{"payment-service dies with the charge made and no answer", buying, answered(paymentGateway, charge), paymentService, bought},
	{"ticket-service dies writing that there are no tickets", outrun, announcing("TICKET_GENERATION_FAILED"), ticketService, notIssued},
	{"ticket-service dies with TICKET_GENERATION_FAILED published and not marked", outrun, published("TICKET_GENERATION_FAILED"), ticketService, notIssued},
	{"payment-gateway dies with the charge not seen", buying, arriving(paymentGateway, charge), paymentGateway, bought},
	{"ticket-service dies with PAYMENT_FAILED not acknowledged", declining, acknowledging(ticketService, "PAYMENT_FAILED"), ticketService, notPaid},
	{"ticket-service dies with EVENT_CANCELLED heard and not committed", cancelling, writing("INSERT ON event_cancellations", "NEW.event_id = '{event}'"), ticketService, calledOff},
	{"ticket-service dies in the middle of a batch of tickets", cancelling, announcing("TICKET_CANCELLED"), ticketService, calledOff},
	{"ticket-service dies with TICKET_CANCELLED published and not marked", cancelling, published("TICKET_CANCELLED"), ticketService, calledOff},
	{"ticket-service dies with a dead letter not committed", discarding, writing("INSERT ON dead_letters", "NEW.body LIKE '%{trace}%'"), ticketService, nothing},
	{"ticket-service dies with a dead letter archived and not deleted", discarding, answered(ticketService, "/bindings/dead-letters"), ticketService, nothing},
	{"ticket-service dies with a dead letter redriven and not marked", redriving, writing("UPDATE ON dead_letters", "NEW.body LIKE '%{event}%' AND NEW.state = 'REDRIVEN'"), ticketService, bought},

	// ... then its tickets to payment-service, ...
	{"payment-service dies with PAYMENT_COMPLETED published and not marked", buying, published("PAYMENT_COMPLETED"), paymentService, bought},
	{"payment-service dies with TICKETS_GENERATED not seen", buying, delivering(paymentService, "TICKETS_GENERATED"), paymentService, bought},
	{"payment-service dies writing that the tickets are issued", buying, writing("UPDATE ON orders", "NEW.event_id = '{event}' AND OLD.step = 'FULFIL'"), paymentService, bought},
	{"payment-gateway dies with the charge made, before it says so", buying, answered(paymentGateway, charge), paymentGateway, bought},
	{"payment-service dies with TICKETS_GENERATED not acknowledged", buying, acknowledging(paymentService, "TICKETS_GENERATED"), paymentService, bought},
	{"payment-service dies with TICKET_GENERATION_FAILED not seen", outrun, delivering(paymentService, "TICKET_GENERATION_FAILED"), paymentService, notIssued},
	{"payment-service dies writing that the money has to go back", outrun, writing("INSERT ON refunds", "NEW.correlation_id = '{trace}'"), paymentService, notIssued},
	{"payment-service dies with TICKET_GENERATION_FAILED not acknowledged", outrun, acknowledging(paymentService, "TICKET_GENERATION_FAILED"), paymentService, notIssued},
	{"payment-service dies with the refusal of the card not answered", declining, answered(paymentGateway, charge), paymentService, notPaid},
	{"payment-service dies with EVENT_CANCELLED not acknowledged", cancelling, acknowledging(paymentService, "EVENT_CANCELLED"), paymentService, calledOff},

	// ... and at last what those hear whose queues hide it for half a minute.
	{"notification-service dies with TICKETS_GENERATED not seen", buying, delivering(notificationService, "TICKETS_GENERATED"), notificationService, bought},
	{"notification-service dies writing what is to be told", buying, writing("INSERT ON notifications", "NEW.facts ->> 'eventId' = '{event}'"), notificationService, bought},
	{"notification-service dies writing who is to hear that an event is postponed", postponing, writing("INSERT ON notifications", "NEW.facts ->> 'eventId' = '{event}' AND NEW.kind = 'EVENT_POSTPONED'"), notificationService, putOff},
	{"notification-service dies with the mail on its way to email-service", buying, arriving(emailService, mailing), notificationService, bought},
	{"notification-service dies with the mail out and no answer", buying, answered(emailService, mailing), notificationService, bought},
	{"notification-service dies writing that the mail is out", buying, writing("UPDATE ON notifications", "NEW.facts ->> 'eventId' = '{event}' AND NEW.status = 'SENT'"), notificationService, bought},
	{"notification-service dies between the two mails of a transfer", transferring, writing("UPDATE ON notifications", "NEW.facts ->> 'eventId' = '{event}' AND NEW.kind = 'TICKET_RECEIVED' AND NEW.status = 'SENT'"), notificationService, transferred},
	{"notification-service dies with TICKETS_GENERATED not acknowledged", buying, acknowledging(notificationService, "TICKETS_GENERATED"), notificationService, bought},
	{"email-service dies with the mail not seen", buying, arriving(emailService, mailing), emailService, bought},
	{"email-service dies with the mail out, before it says so", buying, answered(emailService, mailing), emailService, bought},
	{"analytics-service dies with PAYMENT_COMPLETED not seen", buying, delivering(analyticsService, "PAYMENT_COMPLETED"), analyticsService, bought},
	{"analytics-service dies counting a sale", buying, writing("INSERT ON ticket_type_sales", "NEW.event_id = '{event}'"), analyticsService, bought},
	{"analytics-service dies with TICKETS_GENERATED not acknowledged", buying, acknowledging(analyticsService, "TICKETS_GENERATED"), analyticsService, bought},
}
