package saga

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

const (
	sweepWorkers = 8 // sagas that a sweep drives at the same time
	// sweepTime is how long a sweep leases more sagas. It is about the interval of the cron ticks, so that sweeps do
	// not pile up during an outage, when every call takes until its timeout.
	sweepTime = 10 * time.Second
	// A sweep processes up to eventBatches batches of eventBatch orders of cancelled events. A batch locks its orders,
	// so it is small.
	eventBatches = 20
	eventBatch   = 50
)

// Sweep resumes the sagas that are due and returns how many it resumed. It also creates the refunds of cancelled
// events, and looks for disputes that no webhook has reported. A saga that fails does not end the sweep; Sweep returns
// errors of the database only.
func (s Saga) Sweep(ctx context.Context) (int, error) {
	start := time.Now()
	notCreated := s.refundCancelled(ctx)
	var resumed atomic.Int64
	var workers errgroup.Group
	workers.Go(func() error { return s.pollDisputes(ctx, start.Add(sweepTime)) })
	// A worker leases one saga at a time. The lease of a saga that waited for its worker would expire.
	for range sweepWorkers {
		workers.Go(func() error {
			for time.Since(start) < sweepTime {
				orders, err := s.Store.LeaseDue(ctx, 1)
				if err != nil {
					return err
				}
				for _, id := range orders {
					logFailure(ctx, "orderId", id, s.resume(ctx, id))
				}
				refunds, err := s.Store.LeaseDueRefunds(ctx, 1)
				if err != nil {
					return err
				}
				for _, id := range refunds {
					_, err := s.DriveRefund(ctx, id)
					logFailure(ctx, "refundId", id, err)
				}
				n := len(orders) + len(refunds)
				if n == 0 {
					break
				}
				resumed.Add(int64(n))
			}
			return nil
		})
	}
	err := workers.Wait()
	return int(resumed.Load()), errors.Join(notCreated, err)
}

// logFailure logs the error of a saga, unless its driver has logged it. Another sweep will resume the saga.
func logFailure(ctx context.Context, key string, id uuid.UUID, err error) {
	if err != nil && !errors.Is(err, ErrUnsettled) {
		slog.ErrorContext(ctx, "resume saga failed", key, id, "error", err.Error())
	}
}

// refundCancelled creates refunds of the orders of cancelled events.
func (s Saga) refundCancelled(ctx context.Context) error {
	for range eventBatches {
		if more, err := s.Store.RefundCancelled(ctx, eventBatch); err != nil || !more {
			return err
		}
	}
	return nil
}

// resume drives an order whose request has ended. It compensates an order at RESERVE: the buyer's request ended with an
// error or without a response, so nothing has been sold. It announces an order at FULFIL again. Finally it asks for the
// tickets directly, and gives the order up if ticket-service refuses.
func (s Saga) resume(ctx context.Context, id uuid.UUID) error {
	o, err := s.Store.Order(ctx, id)
	if err != nil {
		return err
	}
	ctx, span := startSpan(ctx, o.Trace, "resume order")
	defer span.End()
	switch o.Step {
	case order.Reserve:
		if err := s.Store.GiveUp(ctx, id, order.Failure{
			Code: order.CodeAbandoned, Message: "The order could not be processed; place a new one", Retryable: true,
		}); err != nil {
			return err
		}
	case order.Fulfil:
		if settled, err := s.confirmOverdue(ctx, o); settled || err != nil {
			return err
		}
		gaveUp, err := s.Store.Reannounce(ctx, o)
		if gaveUp {
			slog.ErrorContext(ctx, "tickets not generated in time, order refunded", "orderId", id)
		}
		return err
	case order.Charge, order.Release, order.Refund, order.Done:
	}
	_, err = s.Drive(ctx, id)
	return err
}

// confirmOverdue asks ticket-service directly for the tickets of an order at FULFIL that would be refunded otherwise:
// it may have issued and mailed them, while only its events are lost. It returns true if the order has its tickets, and
// false if the order is not overdue or if ticket-service refuses. If ticket-service does not respond, the order backs
// off, and confirmOverdue returns ErrUnsettled: a refund could not cancel the tickets either.
func (s Saga) confirmOverdue(ctx context.Context, o order.Order) (settled bool, err error) {
	overdue, err := s.Store.Overdue(ctx, o.ID)
	if err != nil || !overdue {
		return false, err
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.ConfirmPurchase, calls.ConfirmPurchaseRequest{
		ReservationID: o.ReservationID.String(), OrderID: o.ID.String(), UserID: o.UserID.String(),
		HolderName: o.HolderName,
	})
	if _, refused := sidecar.Refusal(err); refused {
		return false, nil
	}
	if err != nil {
		slog.WarnContext(ctx, "confirm purchase failed", "orderId", o.ID, "error", err.Error())
		_, backedOff := s.Store.BackOff(ctx, o)
		return false, errors.Join(unsettled(err), backedOff)
	}
	generated := events.TicketsGenerated{OrderID: o.ID, UserID: o.UserID, EventID: o.EventID}
	for _, t := range answer.Tickets {
		generated.Tickets = append(generated.Tickets, events.Ticket{
			TicketID: t.TicketID, TicketNumber: t.TicketNumber, TicketTypeID: t.TicketTypeID, QRCode: t.QRCode,
		})
	}
	slog.WarnContext(ctx, "tickets confirmed directly, their event is lost", "orderId", o.ID)
	return true, s.Store.Fulfilled(ctx, uuid.NewSHA1(o.ID, []byte("confirm-purchase")), generated)
}
