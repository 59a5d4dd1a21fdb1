package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

// withOutbox has the services with an outbox.
var withOutbox = []string{
	"auth-service", "event-service", "ticket-service", "payment-service", "notification-service", "analytics-service",
}

// checkEvents checks all events that the services wrote during the tests against the schemas of the events.
func checkEvents(ctx context.Context) error {
	var wrong []error
	for _, service := range withOutbox {
		events, err := outbox[[]byte](ctx, service, `SELECT cloud_event FROM outbox ORDER BY position`)
		if err != nil {
			return err
		}
		for _, event := range events {
			if err := contracttest.CheckEvent(event); err != nil {
				wrong = append(wrong, fmt.Errorf("published by %s: %w", service, err))
			}
		}
	}
	return errors.Join(wrong...)
}

// requirePublished waits until the events of an event or user are published, and requires that exactly these types
// occur.
func requirePublished(t *testing.T, id uuid.UUID, types ...string) {
	t.Helper()
	slices.Sort(types)
	published, err := demo.Await(t.Context(), func() ([]string, error) {
		var all []string
		for _, service := range withOutbox {
			found, err := outbox[string](t.Context(), service, `
				SELECT DISTINCT cloud_event->>'type' FROM outbox
				WHERE published_at IS NOT NULL
				AND $1 IN (cloud_event->'data'->'payload'->>'eventId', cloud_event->>'subject')`, id.String())
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		slices.Sort(all)
		return all, nil
	}, func(all []string) bool { return len(all) >= len(types) })
	require.NoError(t, err)
	require.Equal(t, types, published)
}

// outbox returns the column that a query selects from a service's outbox.
func outbox[T any](ctx context.Context, service, query string, args ...any) ([]T, error) {
	db, err := pgx.Connect(ctx, system.DatabaseURL(service))
	if err != nil {
		return nil, fmt.Errorf("read the outbox of %s: %w", service, err)
	}
	defer db.Close(context.WithoutCancel(ctx))
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the outbox of %s: %w", service, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
