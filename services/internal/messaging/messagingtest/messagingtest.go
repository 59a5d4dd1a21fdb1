// Package messagingtest helps to test the subpackages of messaging with one event type, SEAT_SOLD.
package messagingtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
)

// Sold is the payload of SEAT_SOLD.
type Sold struct {
	Seat int `json:"seat"`
}

// Type returns SEAT_SOLD.
func (Sold) Type() string { return "SEAT_SOLD" }

// Topic returns seat-events.
func (Sold) Topic() string { return "seat-events" }

// Subject returns the same subject for every seat.
func (Sold) Subject() string { return "seat" }

// Attributes returns one attribute.
func (Sold) Attributes() map[string]string { return map[string]string{"seatid": "x"} }

// EventID is the id of an event.
const EventID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

// CorrelationID is the correlation id of every Envelope.
const CorrelationID = "corr-123456"

// CloudEvent returns an event as a sidecar delivers it. data is JSON.
func CloudEvent(id, eventType, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"type":%q,"topic":"seat-events","data":%s}`, id, eventType, data)
}

// Envelope returns the data of an event. payload is JSON.
func Envelope(eventType, version, payload string) string {
	return fmt.Sprintf(
		`{"eventType":%q,"version":%q,"timestamp":"2024-01-15T10:30:00Z","correlationId":%q,"payload":%s}`,
		eventType, version, CorrelationID, payload)
}

// Sale returns a valid SEAT_SOLD as a sidecar delivers it.
func Sale(id string) string {
	return CloudEvent(id, "SEAT_SOLD", Envelope("SEAT_SOLD", "1.0", `{"seat":7}`))
}

// AppAPIToken is the token that a sidecar sends.
const AppAPIToken = "app-api-token"

// Deliver posts body as a sidecar does and returns the status of the answer.
func Deliver(t *testing.T, url, body string) int {
	t.Helper()
	status, _ := Do(t, http.MethodPost, url, body, "dapr-api-token", AppAPIToken)
	return status
}

// Do sends a request with pairs of headers and returns the answer.
func Do(t *testing.T, method, url, body string, headers ...string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for pair := range slices.Chunk(headers, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, answer
}

// Scrape returns the metrics of the process as Prometheus reads them.
func Scrape(t *testing.T) string {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	var page bytes.Buffer
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&page, family)
		require.NoError(t, err)
	}
	return page.String()
}
