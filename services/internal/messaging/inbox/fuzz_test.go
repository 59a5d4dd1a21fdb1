package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

type fuzzed struct {
	Seat int `json:"seat"`
}

func (fuzzed) Type() string                  { return "SEAT_SOLD" }
func (fuzzed) Topic() string                 { return "seat-events" }
func (fuzzed) Subject() string               { return "seat" }
func (fuzzed) Attributes() map[string]string { return nil }

// FuzzDispatch checks that a body reaches a handler only if it is an event of the handler's type and of the known
// version, and that every other body is either malformed or unknown.
func FuzzDispatch(f *testing.F) {
	const id = `"id":"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"`
	for _, body := range []string{
		``, `null`, `[]`, `"text"`, `{}`, `{"id":7}`, `{` + id + `}`, `{` + id + `,"type":"SEAT_PAINTED"}`,
		`{` + id + `,"type":"SEAT_SOLD"}`, `{` + id + `,"type":"SEAT_SOLD","data":null}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"eventType":"SEAT_SOLD","version":"1.0","payload":{"seat":7}}}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"eventType":"SEAT_SOLD","version":"2.0","payload":{"seat":7}}}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"eventType":"SEAT_FREED","version":"1.0","payload":{"seat":7}}}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"eventType":"SEAT_SOLD","version":"1.0","payload":{"seat":"x"}}}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"eventType":"SEAT_SOLD","version":"1.0","payload":{"seat":1e400}}}`,
		`{` + id + `,"type":"SEAT_SOLD","data":{"EVENTTYPE":"SEAT_SOLD","Version":"1.0","timestamp":"yesterday"}}`,
		`{"id":"42","type":"SEAT_SOLD","data":{"eventType":"SEAT_SOLD","version":"1.0","payload":{"seat":7}}}`,
		`{` + id + `,"type":"SEAT_SOLD","topic":7,"time":"never","traceparent":"x","data":{"eventType":"SEAT_SOLD"}}`,
		"{\"id\":\"\x00\xff\",\"type\":\"\\ud800\"}",
	} {
		f.Add([]byte(body))
	}
	var got []Event[fuzzed]
	consumer := New(nil, messaging.Queues{Main: "fuzzed-queue"}, On(func(_ context.Context, e Event[fuzzed]) error {
		got = append(got, e)
		return nil
	}))
	f.Fuzz(func(t *testing.T, body []byte) {
		got = nil
		event, result, err := consumer.dispatch(t.Context(), body)
		consumer.count(event, body, result)
		switch result {
		case processed:
			if err != nil || len(got) != 1 {
				t.Fatalf("processed with error %v by %d handlers", err, len(got))
			}
			e := got[0]
			if parsed, err := uuid.Parse(event.ID); err != nil || parsed != e.ID {
				t.Fatalf("event %s has the id %q", e.ID, event.ID)
			}
			if event.Type != "SEAT_SOLD" || e.EventType != event.Type || e.Version != messaging.Version {
				t.Fatalf("processed %q %q of version %q", event.Type, e.EventType, e.Version)
			}
		case refused:
			if !errors.Is(err, messaging.ErrMalformed) || len(got) != 0 {
				t.Fatalf("refused with error %v by %d handlers", err, len(got))
			}
		case unknown:
			if err != nil || len(got) != 0 || event.ID == "" || !json.Valid(body) {
				t.Fatalf("unknown with error %v by %d handlers: %q", err, len(got), event.ID)
			}
		default:
			t.Fatalf("outcome %q", result)
		}
	})
}
