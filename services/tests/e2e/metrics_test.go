package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/deploy/observability"
)

// scrape reads the metrics at a URL.
func scrape(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(res.Body)
}

func metricsOf(a *stack.App) string { return a.URL() + "/metrics" }

// value returns the value of a counter or gauge, or the sample count of a histogram.
func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
}

// counts returns all values of an app by name and labels, such as sign_ins_total{by="password",outcome="OK"}.
func counts(t *testing.T, app string) map[string]float64 {
	t.Helper()
	families, err := scrape(t.Context(), metricsOf(system.App(app)))
	require.NoError(t, err)
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			values[name+"{"+strings.Join(labels, ",")+"}"] = value(m)
		}
	}
	return values
}

func TestMetricsCountRequestsOrdersAndEvents(t *testing.T) {
	t.Parallel()
	// The minimum growth of each series. Other tests run at the same time.
	growth := map[string]map[string]float64{
		"auth-service": {
			`sign_ins_total{by="password",outcome="INVALID_CREDENTIALS"}`:                                      1,
			`sign_ins_total{by="password",outcome="OK"}`:                                                       2,
			`http_server_request_seconds{method="POST",route="/api/auth/register",status="2xx"}`:               2,
			`events_published_total{topic="user-events",type="EMAIL_VERIFICATION_REQUESTED"}`:                  2,
			`database_pool_acquires_total{}`:                                                                   2,
			`http_server_request_seconds{method="GET",route="/api/auth/internal/users/{userId}",status="2xx"}`: 1,
		},
		"event-service": {
			`events_published_total{topic="event-updates.fifo",type="EVENT_PUBLISHED"}`: 1,
		},
		"ticket-service": {
			`http_server_request_seconds{method="POST",route="/api/tickets/internal/reserve",status="2xx"}`:       2,
			`http_server_request_seconds{method="POST",route="/api/tickets/internal/reserve",status="4xx"}`:       1,
			`events_consumed_total{outcome="processed",queue="ticket-processing-queue",type="PAYMENT_COMPLETED"}`: 1,
			`events_consumed_total{outcome="processed",queue="event-updates.fifo",type="EVENT_PUBLISHED"}`:        1,
			`event_age_seconds{queue="ticket-processing-queue",type="PAYMENT_COMPLETED"}`:                         1,
		},
		"payment-service": {
			`saga_events_total{event="ORDER_CREATED",saga="TICKET_PURCHASE"}`:                                             3,
			`saga_events_total{event="TICKETS_GENERATED",saga="TICKET_PURCHASE"}`:                                         1,
			`saga_events_total{event="PAYMENT_DECLINED",saga="TICKET_PURCHASE"}`:                                          1,
			`saga_events_total{event="RESERVATION_REFUSED",saga="TICKET_PURCHASE"}`:                                       1,
			`saga_events_total{event="PAYMENT_REFUNDED",saga="ORDER_REFUND"}`:                                             1,
			`order_failures_total{code="INSUFFICIENT_INVENTORY"}`:                                                         1,
			`service_call_seconds{operation="POST /api/tickets/internal/reserve",success="true",target="ticket-service"}`: 3,
		},
		"notification-service": {
			`notification_attempts_total{kind="ORDER_CONFIRMATION",status="SENT"}`:                                      1,
			`service_call_seconds{operation="POST /api/email/internal/messages",success="true",target="email-service"}`: 3,
		},
		"analytics-service": {
			`events_consumed_total{outcome="processed",queue="analytics-queue",type="REFUND_PROCESSED"}`: 1,
		},
		"payment-gateway": {
			`service_call_seconds{operation="POST /payment_intents",success="true",target="stripe"}`: 2,
			`service_call_seconds{operation="POST /refunds",success="true",target="stripe"}`:         1,
		},
		"email-service": {
			`email_messages_total{outcome="sent"}`:                                3,
			`service_call_seconds{operation="send",success="true",target="smtp"}`: 3,
		},
	}
	before := map[string]map[string]float64{}
	for app := range growth {
		before[app] = counts(t, app)
	}

	s := newSale(t, 3)
	order, err := s.Buy(t.Context(), s.buyer, s.purchase(2, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(t.Context(), t, order.OrderID, 2)
	declined := s.purchase(1, "pm_card_chargeDeclined").Request(s.buyer)
	require.Equal(t, "PAYMENT_DECLINED", refusal(t, s.Client, declined).Code)
	tooMany := s.purchase(9, demo.GoodCard).Request(s.buyer)
	require.Equal(t, "INSUFFICIENT_INVENTORY", refusal(t, s.Client, tooMany).Code)
	login := post("auth-service", "/api/auth/login", "", map[string]string{
		"email": s.buyer.Email, "password": "not the password",
	})
	require.Equal(t, "INVALID_CREDENTIALS", refusal(t, s.Client, login).Code)
	refund := post("payment-service", "/api/payments/orders/"+order.OrderID.String()+"/refunds", s.organizer.Token,
		map[string]any{"reason": "Cannot come"})
	refund.Header = map[string]string{"Idempotency-Key": t.Name()}
	require.NoError(t, s.Do(t.Context(), refund, nil))

	for _, app := range slices.Sorted(maps.Keys(growth)) {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			now := counts(t, app)
			for series, want := range growth[app] {
				assert.GreaterOrEqual(c, now[series]-before[app][series], want, series)
			}
		}, time.Minute, 500*time.Millisecond, app)
	}

	// By now every documented metric has at least one series.
	documented, used := observability.Metrics()
	served := map[string]bool{}
	for _, a := range system.Apps() {
		families, err := scrape(t.Context(), metricsOf(a))
		require.NoError(t, err)
		for name := range families {
			if !clientMetrics.MatchString(name) {
				served[name] = true
			}
		}
	}
	require.ElementsMatch(t, documented, slices.Collect(maps.Keys(served)), "deploy/observability/README.md")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		families, err := scrape(t.Context(), system.App("payment-service").MetricsURL())
		require.NoError(c, err)
		assert.Subset(c, slices.Collect(maps.Keys(families)), used, "deploy/observability/README.md")
		labels := map[string]bool{}
		for _, m := range families["dapr_resiliency_cb_state"].GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()+"="+l.GetValue()] = true
			}
		}
		for _, label := range []string{
			"status=closed", "status=open", "status=half-open", "status=unknown", "target=app_ticket-service",
		} {
			assert.Contains(c, labels, label, "circuit_breaker_state reads this label")
		}
	}, time.Minute, 500*time.Millisecond)
}

// clientMetrics matches the metrics of the Prometheus client library.
var clientMetrics = regexp.MustCompile(`^(go|process|promhttp)_`)

// Each new value of a label is a new series that is never removed, so no label may have an id or a user's data. The
// limits leave room for the series of all these tests, which provoke every kind of refusal on every route.
var (
	idPattern              = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-|@|[0-9]{6}|(ORD|TKT)-|\b(pm|pi|re|ch)_\w{8}`)
	maxOfApp, maxOfSidecar = 1500, 1500
)

// checkMetrics looks for ids in labels and for too many series. It runs after all tests.
func checkMetrics(ctx context.Context) error {
	var wrong []error
	for _, a := range system.Apps() {
		for url, limit := range map[string]int{metricsOf(a): maxOfApp, a.MetricsURL(): maxOfSidecar} {
			families, err := scrape(ctx, url)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("metrics of %s: %w", a.Name, err))
			}
			series := map[string]int{}
			for name, family := range families {
				for _, m := range family.GetMetric() {
					series[name]++
					if m.GetHistogram() != nil {
						series[name] += len(m.GetHistogram().GetBucket()) + 1 // the count and the sum
					}
					for _, l := range m.GetLabel() {
						if !clientMetrics.MatchString(name) && idPattern.MatchString(l.GetValue()) {
							wrong = append(wrong, fmt.Errorf("metrics of %s: %s has a label %s=%q",
								a.Name, name, l.GetName(), l.GetValue()))
						}
					}
				}
			}
			total := 0
			for _, n := range series {
				total += n
			}
			if total > limit {
				wrong = append(wrong, fmt.Errorf("metrics of %s: %d series at %s: %v", a.Name, total, url, series))
			}
		}
	}
	return errors.Join(wrong...)
}
