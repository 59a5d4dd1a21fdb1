package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// A refund that the bank refuses is an admin's to see and to have tried again.
func TestStuckSagas(t *testing.T) {
	b := setup(t)
	const path = "/api/payments/admin/"
	admin := b.as(t, person(identity.RoleAdmin))
	list := func(query string) answer { return b.send(t, http.MethodGet, path+"sagas"+query, "", admin) }
	id, _ := b.bought(t)
	retry := func() answer { return b.send(t, http.MethodPost, path+"orders/"+id+"/retry", "", admin) }
	require.JSONEq(t, `{"sagas": []}`, list("?stuck=true").body)
	retry().requireFailure(t, http.StatusConflict, "NOTHING_TO_RETRY", "")

	b.services.Next(sagatest.Refund, sagatest.Answered(map[string]any{"status": "FAILED", "failureCode": "LOST_OR_STOLEN_CARD"}))
	refused := b.askAs(t, b.organizer(), id, "key", `{"reason": "Cannot come"}`)
	require.Equal(t, http.StatusCreated, refused.status, refused.body)
	got := list("?stuck=true")
	require.Equal(t, http.StatusOK, got.status)
	stuck := got.fields(t)["sagas"].([]any)[0].(map[string]any) //nolint:forcetypeassert // a test may panic
	require.JSONEq(t, fmt.Sprintf(`{"sagas": [{"sagaId": %q, "sagaType": "ORDER_REFUND", "orderId": %q, "status": "FAILED", "step": "DONE",
		"attempts": 0, "reason": "LOST_OR_STOLEN_CARD", "createdAt": %q, "stuckAt": %q, "dueAt": %q}]}`,
		refused.fields(t)["refundId"], id, stuck["createdAt"], stuck["stuckAt"], stuck["dueAt"]), got.body)

	got = retry()
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.JSONEq(t, fmt.Sprintf(`{"orderId": %q, "retried": true}`, id), got.body)
	require.JSONEq(t, `{"sagas": []}`, list("?stuck=true").body)
	require.Contains(t, list("").body, `"status":"PENDING"`)
	require.Equal(t, http.StatusOK, b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader).status)
	require.Contains(t, b.send(t, http.MethodGet, orders+"/"+id, "", b.as(t, b.buyer)).body, `"paymentStatus":"REFUNDED"`)
	require.JSONEq(t, `{"sagas": []}`, list("").body)
	retry().requireFailure(t, http.StatusConflict, "NOTHING_TO_RETRY", "")

	rows, err := b.pool.Query(t.Context(), `SELECT cloud_event::text::bytea FROM outbox`)
	require.NoError(t, err)
	published, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	require.NoError(t, err)
	require.Len(t, published, 3) // that it is paid, refused by the bank, and refunded after all
	for _, event := range published {
		contracttest.Event(t, event)
	}

	list("?stuck=maybe").requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "stuck")
	list("?limit=0").requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "limit")
	b.send(t, http.MethodPost, path+"orders/x/retry", "", admin).requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "orderId")
	b.send(t, http.MethodPost, path+"orders/"+uuid.NewString()+"/retry", "", admin).
		requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
}
