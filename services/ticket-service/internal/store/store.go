// Package store keeps inventory, reservations and tickets in PostgreSQL. Each exported method is one transaction,
// except where its comment says otherwise, and is idempotent.
//
// Every transaction takes its locks in the same order: the order, the reservation, the ticket types by id, the event,
// the tickets by id. Only new reservations are inserted after their types are locked. That is safe: a transaction that
// waits for the id of a new reservation holds no lock that the reserve still needs. Deadlocks remain possible, for
// example between a batch of expired reservations and a release; postgres.InTx repeats such a transaction.
package store

import (
	"embed"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "ticket_service_version")
}

// source is the CloudEvents source of the events that this service publishes.
const source = "ticket-service"

// Store is the database of ticket-service. Its methods may be called concurrently.
type Store struct {
	pool      *pgxpool.Pool
	publicURL ticket.PublicURL // of the QR codes in published events
}

// New returns a Store on the pool's database, which must have the tables of Migrations.
func New(pool *pgxpool.Pool, publicURL ticket.PublicURL) *Store {
	return &Store{pool: pool, publicURL: publicURL}
}
