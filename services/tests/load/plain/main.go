// Command plain reserves tickets with one database transaction for each request: a conditional UPDATE of the row that
// counts a type's tickets, and a commit. ticket-service is compared with it. Everything else is as similar as possible:
// the same server, JSON, check of the caller, database and tables, and a connection pool that is opened in the same
// way.
//
// PLAIN_SHAPE selects how it uses the database. "transaction" sends one statement after the other, as is usual.
// "statement" sends a single statement that does everything, which locks the row for the shortest possible time.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

type config struct {
	app.Config
	DatabaseURL   string `envconfig:"PLAIN_DATABASE_URL" required:"true"`
	ServiceSecret string `envconfig:"PLAIN_SERVICE_SECRET" required:"true"`
	Shape         string `envconfig:"PLAIN_SHAPE" required:"true"`
}

func main() { app.Main("plain", run) }

// reserver reserves tickets, and sets the expiry and the price of the reservation. It returns errSoldOut if there are
// not enough tickets.
type reserver func(context.Context, *pgxpool.Pool, *reservation) error

func run(ctx context.Context, cfg config) error {
	pool, err := postgres.Open(ctx, cfg.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	reserve, known := map[string]reserver{
		"transaction": inTransaction, "statement": inStatement,
	}[cfg.Shape]
	if !known {
		return fmt.Errorf("PLAIN_SHAPE: unknown shape %q", cfg.Shape)
	}
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: pool.Ping})
	guard := identity.Guard{ServiceSecret: []byte(cfg.ServiceSecret), AppAPIToken: cfg.AppAPIToken}
	handler := func(w http.ResponseWriter, r *http.Request) error { return serve(w, r, pool, reserve) }
	guard.Service(r, calls.Reserve.Route, handler)
	return app.Serve(ctx, cfg.Config, r)
}

// reservation is a reservation of tickets of one type.
type reservation struct {
	id, user, event, ticketType uuid.UUID
	quantity                    int
	hold                        time.Duration

	expiresAt time.Time
	price     money.Amount // of one ticket
}

var errSoldOut = problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")

func serve(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool, reserve reserver) error {
	var in calls.ReserveRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if len(in.TicketRequests) != 1 {
		return problem.Field("ticketRequests", "ticketRequests must have 1 entry")
	}
	if in.ReservationDurationMinutes == nil {
		return problem.Field("reservationDurationMinutes", "reservationDurationMinutes is required")
	}
	res := reservation{
		quantity: in.TicketRequests[0].Quantity,
		hold:     time.Duration(*in.ReservationDurationMinutes) * time.Minute,
	}
	for _, field := range []struct {
		name, value string
		to          *uuid.UUID
	}{
		{"reservationId", in.ReservationID, &res.id},
		{"userId", in.UserID, &res.user},
		{"eventId", in.EventID, &res.event},
		{"ticketRequests.ticketTypeId", in.TicketRequests[0].TicketTypeID, &res.ticketType},
	} {
		id, err := web.ParseID(field.name, field.value)
		if err != nil {
			return err
		}
		*field.to = id
	}
	if err := reserve(r.Context(), pool, &res); err != nil {
		return err
	}

	return web.WriteJSON(w, http.StatusOK, calls.ReserveAnswer{
		ReservationID: res.id, Reserved: true, ExpiresAt: res.expiresAt.UTC(), Currency: res.price.Currency,
		Tickets: []calls.ReservedTickets{{
			TicketTypeID: res.ticketType, Quantity: res.quantity,
			UnitPrice: res.price.Decimal(), TotalPrice: res.price.Times(res.quantity).Decimal(),
		}},
	})
}

// inTransaction reserves with one statement after the other, in one transaction.
func inTransaction(ctx context.Context, pool *pgxpool.Pool, r *reservation) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `
			INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			VALUES ($1, $2, $3, 'ACTIVE', now() + $4) RETURNING expires_at`,
			r.id, r.user, r.event, r.hold).Scan(&r.expiresAt); err != nil {
			return fmt.Errorf("reserve: %w", err)
		}
		err := tx.QueryRow(ctx, `
			UPDATE ticket_types SET held = held + $3
			WHERE id = $1 AND event_id = $2 AND capacity - sold - held >= $3
			    AND EXISTS (SELECT FROM events WHERE id = $2 AND status = 'PUBLISHED')
			RETURNING price_minor, currency`, r.ticketType, r.event, r.quantity).Scan(&r.price.Minor, &r.price.Currency)
		if errors.Is(err, pgx.ErrNoRows) {
			return errSoldOut
		}
		if err != nil {
			return fmt.Errorf("hold tickets: %w", err)
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			VALUES ($1, $2, $3, $4, $5)`, r.id, r.ticketType, r.quantity, r.price.Minor, r.price.Currency); err != nil {
			return fmt.Errorf("store reservation line: %w", err)
		}
		return nil
	})
}

// inStatement reserves with a single statement.
func inStatement(ctx context.Context, pool *pgxpool.Pool, r *reservation) error {
	err := pool.QueryRow(ctx, `
		WITH taken AS (
			UPDATE ticket_types SET held = held + $6
			WHERE id = $5 AND event_id = $3 AND capacity - sold - held >= $6
			    AND EXISTS (SELECT FROM events WHERE id = $3 AND status = 'PUBLISHED')
			RETURNING price_minor, currency),
		reserved AS (
			INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			SELECT $1, $2, $3, 'ACTIVE', now() + $4 FROM taken RETURNING expires_at),
		line AS (
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			SELECT $1, $5, $6, price_minor, currency FROM taken)
		SELECT expires_at, price_minor, currency FROM reserved, taken`,
		r.id, r.user, r.event, r.hold, r.ticketType, r.quantity).Scan(&r.expiresAt, &r.price.Minor, &r.price.Currency)
	if errors.Is(err, pgx.ErrNoRows) {
		return errSoldOut
	}
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	return nil
}
