//go:build crash

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Further scenarios of payments.
var (
	// authenticating is a purchase with a card whose bank asks the buyer, who says yes. In refusingAtBank the buyer says
	// no. In unanswered the buyer says nothing until the charge is settled.
	authenticating = scenario{act: func(ctx context.Context, s *scenarioRun) error { return s.buyAtBank(ctx, bankYes) }}
	refusingAtBank = scenario{act: func(ctx context.Context, s *scenarioRun) error { return s.buyAtBank(ctx, bankNo) }}
	unanswered     = scenario{once: true, act: func(ctx context.Context, s *scenarioRun) error {
		if err := await(ctx, func() error { return s.buyAtBank(ctx, bankNothing) }); err != nil {
			return err
		}
		return s.settle(ctx)
	}}
	// authenticatedUnnoticed is authenticating without a webhook, so that a sweep finds the outcome.
	authenticatedUnnoticed = scenario{
		once: true, arrange: setStripeFaults(simulator.Faults{LoseWebhook: -1}),
		act: func(ctx context.Context, s *scenarioRun) error {
			if err := await(ctx, func() error { return s.buyAtBank(ctx, bankNothing) }); err != nil {
				return err
			}
			if err := s.buyAtBank(ctx, bankYes); err != nil {
				return err
			}
			return s.sweepDue(ctx, "0")
		},
		whileDown: clearStripeFaults,
	}

	// uncharged is a purchase whose charge never reaches payment-gateway, and is settled at last.
	uncharged = scenario{
		once: true,
		arrange: func(_ context.Context, s *scenarioRun) { // the attempt and its repetition by the sidecar
			s.proxies.add(paymentGateway, &interception{path: charge, matches: s.owns, left: 2, drop: true})
		},
		act: func(ctx context.Context, s *scenarioRun) error {
			if err := await(ctx, func() error { return s.buy(ctx, demo.GoodCard) }); err != nil {
				return err
			}
			return s.settle(ctx)
		},
	}
	// chargedLater is a purchase whose charge the bank processes for a while. leftUnconfirmed is one that Stripe creates
	// and does not confirm.
	chargedLater = scenario{
		act: buying.act, arrange: duringRequest(charge, simulator.Faults{Process: 1, SettleMs: settleMs}),
	}
	leftUnconfirmed = scenario{
		act: buying.act, arrange: setStripeFaults(simulator.Faults{LeaveUnconfirmed: 1}), whileDown: clearStripeFaults,
	}
	// outdatedPrice is a purchase by a buyer who has seen another price.
	outdatedPrice = scenario{act: func(ctx context.Context, s *scenarioRun) error {
		return s.post(ctx, paymentService, "/api/payments/orders", s.buyer, map[string]any{
			"eventId": s.event.EventID, "paymentMethod": "CREDIT_CARD", "paymentToken": demo.GoodCard,
			"ticketRequests": []map[string]any{{"ticketTypeId": s.floor.TicketTypeID, "quantity": 2}},
			"expectedTotal":  money.Decimal("20.00"),
		})
	}}

	// sentBack is a refund that the bank sends back; operators retry it at the end. In repeating the administrator
	// retries it at once.
	sentBack = scenario{
		prepare: ownTickets, act: refunding.act,
		arrange: duringRequest(refund, simulator.Faults{FailRefund: 1, SettleMs: 500}),
	}
	repeating = scenario{prepare: ownTickets, arrange: sentBack.arrange, act: refundAndRetry}
	// deferred is a refund that the account's balance does not cover at first.
	deferred = scenario{
		prepare: ownTickets, act: refunding.act, arrange: duringRequest(refund, simulator.Faults{LackBalance: 1}),
	}
	// refundingAmount is a refund of the whole price as an amount.
	refundingAmount = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		return s.post(ctx, paymentService, "/api/payments/orders/"+s.id.String()+"/refunds", s.organizer,
			map[string]any{"reason": "Goodwill", "amount": money.Decimal("99.00")})
	}}
)

// refundedAgain is the outcome of a refund that the bank sent back, and of its repetition.
var refundedAgain = outcome{
	counts{"REFUNDED": 1},
	counts{"CANCELLED": 2},
	counts{"ORDER_CONFIRMATION": 1, "REFUND_PROCESSED": 2, "REFUND_FAILED": 1, "TICKET_CANCELLED": 1},
}

const settle = "/api/gateway/internal/charges/settle"

// paymentPoints are the crash points of charges that the buyer authenticates or that are settled, and of refunds that
// fail later, are deferred or repeated. Those that fail a request to payment-gateway are spread out, as in crashPoints.
var paymentPoints = []crashPoint{
	{
		"payment-service dies before it commits that the buyer has to authenticate",
		authenticating, uncommitted("UPDATE ON orders",
			"NEW.event_id = '{event}' AND NEW.action_client_secret IS NOT NULL AND OLD.action_client_secret IS NULL"),
		paymentService, bought,
	},
	{
		"payment-gateway dies after it confirmed a charge that Stripe had left unconfirmed, before its answer arrives",
		leftUnconfirmed, answerInTransit(paymentGateway, charge), paymentGateway, bought,
	},
	{
		"payment-service dies before it commits the webhook about the buyer's authentication",
		authenticating, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'FULFIL'"),
		paymentService, bought,
	},
	{
		"payment-service dies before it commits the webhook about an authentication that failed",
		refusingAtBank, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'RELEASE'"),
		paymentService, declined,
	},
	{
		"payment-service dies before it commits the authentication that its sweep has found",
		authenticatedUnnoticed, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'FULFIL'"),
		paymentService, bought,
	},
	{
		"payment-service dies before it commits that charging has stopped",
		unanswered, uncommitted("UPDATE ON orders",
			"NEW.event_id = '{event}' AND NEW.asking_since IS NOT NULL AND OLD.asking_since IS NULL"),
		paymentService, declined,
	},
	{
		"payment-service dies before it takes slots for charges",
		buying, uncommitted("UPDATE ON charge_pace", "NEW.next_at > OLD.next_at"), paymentService, bought,
	},
	{
		"payment-service dies before it sends settle",
		unanswered, requestLost(paymentGateway, settle), paymentService, declined,
	},
	{
		"payment-service dies before it commits the webhook about a charge that the bank processed later",
		chargedLater, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'FULFIL'"),
		paymentService, bought,
	},
	{
		"payment-service dies before it commits that the price is another one",
		outdatedPrice, uncommitted("UPDATE ON orders",
			"NEW.event_id = '{event}' AND OLD.step = 'RESERVE' AND NEW.step = 'DONE'"),
		paymentService, abandoned,
	},
	{
		"payment-service dies before it receives the answer to settle",
		unanswered, answerInTransit(paymentGateway, settle), paymentService, declined,
	},
	{
		"payment-service dies before it commits that a refund is deferred",
		deferred, uncommitted("UPDATE ON refunds", "NEW.correlation_id = '{trace}' AND NEW.tries > OLD.tries"),
		paymentService, refunded,
	},
	{
		"payment-service dies before it commits that the bank has sent a refund back",
		sentBack, uncommitted("UPDATE ON refunds",
			"NEW.correlation_id = '{trace}' AND OLD.status = 'SUCCEEDED' AND NEW.status = 'FAILED'"),
		paymentService, refundedAgain,
	},
	{
		"payment-service dies before it commits REFUND_FAILED",
		sentBack, uncommitted("INSERT ON outbox",
			"NEW.cloud_event ->> 'type' = 'REFUND_FAILED' AND NEW.cloud_event #>> '{data,payload,eventId}' = '{event}'"),
		paymentService, refundedAgain,
	},
	{
		"payment-service dies before it commits the repetition of a refund",
		repeating, uncommitted("UPDATE ON refunds",
			"NEW.order_id = '{id}' AND NEW.retry_of IS NOT NULL AND OLD.retry_of IS NULL"),
		paymentService, refundedAgain,
	},
	{
		"payment-gateway dies after it settled a charge, before its answer arrives",
		unanswered, answerInTransit(paymentGateway, settle), paymentGateway, declined,
	},
	{
		"payment-service dies before it commits that the repetition of a refund succeeded",
		repeating, uncommitted("UPDATE ON refunds",
			"NEW.order_id = '{id}' AND NEW.retry_of IS NOT NULL AND NEW.status = 'SUCCEEDED'"),
		paymentService, refundedAgain,
	},
	{
		"payment-service dies before it commits a refund of the whole price as an amount",
		refundingAmount, uncommitted("INSERT ON refunds", "NEW.correlation_id = '{trace}' AND NEW.keep_used"),
		paymentService, refunded,
	},
	{
		"ticket-service dies before it commits the cancellation of the tickets of a refund by amount",
		refundingAmount, uncommittedEvent("TICKET_CANCELLED"), ticketService, refunded,
	},
	{
		"payment-service dies before it commits that a settled charge was not made in time",
		unanswered, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'RELEASE'"),
		paymentService, declined,
	},
	{
		"payment-service dies before it commits that a charge was never made",
		uncharged, uncommitted("UPDATE ON orders", "NEW.event_id = '{event}' AND NEW.step = 'RELEASE'"),
		paymentService, declined,
	},
}

// buyAtBank sends the purchase of two tickets with a card whose bank asks the buyer, and gives the buyer's answer. It
// returns an error while the charge is not made, and nil if there is nothing to answer any more.
func (s *scenarioRun) buyAtBank(ctx context.Context, answer string) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	req := s.purchase(2, demo.AuthenticatedCard).Request(s.buyer)
	req.Header["X-Correlation-Id"], req.Header["Idempotency-Key"] = s.trace, s.trace
	var order demo.Order
	if err := s.Do(ctx, req, &order); err != nil {
		return err
	}
	switch {
	case order.PaymentStatus == "PENDING":
		return errors.New("the charge is not made yet")
	case order.Action == nil || answer == bankNothing:
		return nil
	}
	return answerBank(ctx, s.system.StripeURL(), *order.Action, answer)
}

// sweepDue makes the run's order due, as if its charge had been attempted for the first time so much earlier, and lets
// payment-service sweep.
func (s *scenarioRun) sweepDue(ctx context.Context, earlier string) error {
	if _, err := s.sources.Databases[paymentService].Exec(ctx, `
		UPDATE orders SET charge_since = charge_since - $2::interval, resume_at = now()
		WHERE event_id = $1 AND step = 'CHARGE'`, s.event.EventID, earlier); err != nil {
		return fmt.Errorf("make the order due: %w", err)
	}
	return s.asSidecar(ctx, paymentService, http.MethodPost, "/bindings/resume-sagas", nil)
}

// settle lets the time pass in which a charge is made, and lets payment-service sweep.
func (s *scenarioRun) settle(ctx context.Context) error {
	return s.sweepDue(ctx, "11 minutes")
}

// duringRequest lets the Stripe simulator have faults while payment-gateway serves one request of the run.
func duringRequest(path string, faults simulator.Faults) func(context.Context, *scenarioRun) {
	return func(ctx context.Context, s *scenarioRun) {
		s.proxies.add(paymentGateway, &interception{
			path: path, matches: s.owns, left: 1,
			before: func() { setStripeFaults(faults)(ctx, s) },
			after: func() {
				if err := clearStripeFaults(ctx, s); err != nil {
					progress("clear the faults of Stripe: %v", err)
				}
			},
		})
	}
}

func setStripeFaults(faults simulator.Faults) func(context.Context, *scenarioRun) {
	return func(ctx context.Context, s *scenarioRun) {
		if err := s.stripe(ctx, http.MethodPut, "/_faults", faults, nil); err != nil {
			progress("set the faults of Stripe: %v", err)
		}
	}
}

func clearStripeFaults(ctx context.Context, s *scenarioRun) error {
	return s.stripe(ctx, http.MethodDelete, "/_faults", nil, nil)
}

// refundAndRetry requests the refund of the run's order, waits until the bank has sent it back, and lets the
// administrator retry it.
func refundAndRetry(ctx context.Context, s *scenarioRun) error {
	if err := refunding.act(ctx, s); err != nil && !final(err) {
		return err
	}
	waiting, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	if _, err := demo.Await(waiting, func() (failed bool, err error) {
		return failed, s.sources.Databases[paymentService].QueryRow(waiting, `
			SELECT EXISTS (SELECT FROM refunds WHERE order_id = $1 AND status = 'FAILED')`, s.id).Scan(&failed)
	}, func(failed bool) bool { return failed }); err != nil {
		return fmt.Errorf("wait for the refund to be sent back: %w", err)
	}
	token, err := s.adminToken(ctx)
	if err != nil {
		return err
	}
	calling, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Do(calling, demo.Request{
		Method: http.MethodPost, App: paymentService, Path: "/api/payments/admin/orders/" + s.id.String() + "/retry",
		Token: token, Header: map[string]string{"X-Correlation-Id": s.trace},
	}, nil)
}

// becomeOverdue buys two tickets, waits until the order is paid and has as many tickets, lets the time pass in which it
// waits for their event, and lets payment-service sweep.
func (s *scenarioRun) becomeOverdue(ctx context.Context, tickets int) error {
	if err := await(ctx, func() error { return s.buy(ctx, demo.GoodCard) }); err != nil {
		return err
	}
	if _, err := demo.Await(ctx, func() (n int, err error) {
		return n, s.sources.Databases[ticketService].QueryRow(ctx, `
			SELECT count(*) FROM tickets WHERE event_id = $1`, s.event.EventID).Scan(&n)
	}, func(n int) bool { return n == tickets }); err != nil {
		return fmt.Errorf("wait for the tickets: %w", err)
	}
	if _, err := demo.Await(ctx, func() (paid int64, err error) {
		tag, err := s.sources.Databases[paymentService].Exec(ctx, `
			UPDATE orders SET completed_at = now() - $2::interval, tries = 3, resume_at = now()
			WHERE event_id = $1 AND step = 'FULFIL'`, s.event.EventID, 31*time.Minute)
		return tag.RowsAffected(), err
	}, func(paid int64) bool { return paid == 1 }); err != nil {
		return fmt.Errorf("wait for the payment: %w", err)
	}
	return s.asSidecar(ctx, paymentService, http.MethodPost, "/bindings/resume-sagas", nil)
}
