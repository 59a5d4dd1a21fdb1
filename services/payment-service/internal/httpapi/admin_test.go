package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

func TestAdminRetriesARefundThatTheBankRefused(t *testing.T) {
	b := setup(t)
	const path = "/api/payments/admin/"
	admin := b.as(t, person(identity.RoleAdmin))
	list := func(query string) answer { return b.get(t, path+"sagas"+query, admin) }
	id, _ := b.bought(t)
	retry := func() answer { return b.send(t, http.MethodPost, path+"orders/"+id+"/retry", "", admin) }
	require.JSONEq(t, `{"sagas": []}`, list("?stuck=true").body)
	retry().requireFailure(t, http.StatusConflict, "NOTHING_TO_RETRY", "")

	b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
		Status: calls.GatewayFailed, FailureCode: "LOST_OR_STOLEN_CARD",
	}))
	refused := b.requestRefundAs(t, b.organizer(), id, "key", `{"reason": "Cannot come"}`)
	require.Equal(t, http.StatusCreated, refused.status, refused.body)
	got := list("?stuck=true")
	require.Equal(t, http.StatusOK, got.status)
	stuck := got.fields(t)["sagas"].([]any)[0].(map[string]any)
	require.JSONEq(t, fmt.Sprintf(`{"sagas": [{"sagaId": %q, "sagaType": "ORDER_REFUND", "orderId": %q,
		"status": "FAILED", "step": "DONE", "attempts": 0, "reason": "LOST_OR_STOLEN_CARD",
		"createdAt": %q, "stuckAt": %q, "dueAt": %q}]}`,
		refused.fields(t)["refundId"], id, stuck["createdAt"], stuck["stuckAt"], stuck["dueAt"]), got.body)

	got = retry()
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.JSONEq(t, fmt.Sprintf(`{"orderId": %q, "retried": true}`, id), got.body)
	require.JSONEq(t, `{"sagas": []}`, list("?stuck=true").body)
	require.Contains(t, list("").body, `"status":"PENDING"`)
	require.Equal(t, http.StatusOK, b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader).status)
	require.Contains(t, b.get(t, orders+"/"+id, b.as(t, b.buyer)).body, `"paymentStatus":"REFUNDED"`)
	require.JSONEq(t, `{"sagas": []}`, list("").body)
	retry().requireFailure(t, http.StatusConflict, "NOTHING_TO_RETRY", "")

	rows, err := b.pool.Query(t.Context(), `SELECT cloud_event::text::bytea FROM outbox`)
	require.NoError(t, err)
	published, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	require.NoError(t, err)
	require.Len(t, published, 4) // PAYMENT_COMPLETED, REFUND_FAILED, COMPENSATION_FAILED and REFUND_PROCESSED
	for _, event := range published {
		contracttest.Event(t, event)
	}

	list("?stuck=maybe").requireInvalid(t, "stuck")
	list("?limit=0").requireInvalid(t, "limit")
	b.send(t, http.MethodPost, path+"orders/x/retry", "", admin).requireInvalid(t, "orderId")
	b.send(t, http.MethodPost, path+"orders/"+uuid.NewString()+"/retry", "", admin).
		requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
}

func TestAdminRetriesAllStuckSagas(t *testing.T) {
	b := setup(t)
	const path = "/api/payments/admin/sagas"
	admin := b.as(t, person(identity.RoleAdmin))
	retryAll := func() string {
		got := b.send(t, http.MethodPost, path+"/retry", "", admin)
		require.Equal(t, http.StatusOK, got.status, got.body)
		return got.body
	}
	require.JSONEq(t, `{"retried": 0, "failed": []}`, retryAll())
	const refused = 3
	for range refused {
		id, _ := b.bought(t)
		b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
			Status: calls.GatewayFailed, FailureCode: "LOST_OR_STOLEN_CARD",
		}))
		b.requestRefundAs(t, b.organizer(), id, "key", `{"reason": "Cannot come"}`)
	}
	require.JSONEq(t, fmt.Sprintf(`{"retried": %d, "failed": []}`, refused), retryAll())
	require.JSONEq(t, `{"retried": 0, "failed": []}`, retryAll(), "each refund is repeated once")
	require.Equal(t, http.StatusOK, b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader).status)
	require.JSONEq(t, `{"sagas": []}`, b.get(t, path, admin).body)
}
