// Package store keeps inventory, reservations and tickets in PostgreSQL. Each exported method is one
// transaction, except where its comment says otherwise, and can be repeated.
//
// Locks are taken in one order everywhere: the order, then the reservation, then ticket types by id,
// then the event, then tickets by id. New reservations come after their types: an id that is not there yet is waited for by
// nobody who holds what its reserve needs. Whoever finds a deadlock all the same (a batch of expired reservations beside a
// release, say) is run again by postgres.InTx.
package store

import (
	"embed"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "ticket_service_version")
}

// source is the CloudEvents source of what this service publishes.
const source = "ticket-service"

// Store is the database of ticket-service.
type Store struct {
	Pool *pgxpool.Pool
	// QRCodeURL gives the address of a ticket's QR code picture, for events.
	QRCodeURL func(ticketID uuid.UUID) string
}
