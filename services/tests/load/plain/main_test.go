package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// The comparison is only fair if the plain process is correct too.
func TestBothShapesSellAllTicketsAndNoMore(t *testing.T) {
	t.Parallel()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	for name, reserve := range map[string]reserver{
		"Transaction": inTransaction, "Statement": inStatement,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.New(t, postgres.Migrations{
				VersionTable: "ticket_service_version",
				Files:        os.DirFS(filepath.Join(root, "services/ticket-service/internal/store/migrations")),
			})
			event, ticketType := uuid.New(), uuid.New()
			_, err := pool.Exec(t.Context(), `
				INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
				VALUES ($1, $1, 'Festival', now(), 'Stadium', 'PUBLISHED')`, event)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), `
				INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
				VALUES ($1, $2, 'Floor', 4950, 'USD', 25)`, ticketType, event)
			require.NoError(t, err)

			var g errgroup.Group
			rejected := make(chan struct{}, 40)
			for range 40 {
				g.Go(func() error {
					r := reservation{
						id: uuid.New(), user: uuid.New(), event: event, ticketType: ticketType,
						quantity: 1, hold: time.Minute,
					}
					err := reserve(context.Background(), pool, &r)
					if errors.Is(err, errSoldOut) {
						rejected <- struct{}{}
						return nil
					}
					if err == nil && (r.price.Minor != 4950 || !r.expiresAt.After(time.Now())) {
						t.Errorf("wrong price or expiry: %+v", r)
					}
					return err
				})
			}
			require.NoError(t, g.Wait())
			require.Len(t, rejected, 15)
			var held, reservations, lines int
			require.NoError(t, pool.QueryRow(t.Context(), `
				SELECT held, (SELECT count(*) FROM reservations), (SELECT count(*) FROM reservation_lines)
				FROM ticket_types`).
				Scan(&held, &reservations, &lines))
			require.Equal(t, []int{25, 25, 25}, []int{held, reservations, lines})
		})
	}
}
