package deadletter

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

// FuzzReadMessage checks that every message of a dead-letter queue can be stored under an id.
func FuzzReadMessage(f *testing.F) {
	for _, body := range []string{
		``, `hello`, `null`, `{}`, `{"Message":7}`, `{"MessageId":"message-1","Message":""}`,
		`{"MessageId":"message-1","Message":"hello"}`, `{"MessageId":"message-1","Message":"{\"id\":\"42\"}"}`,
		`{"messageid":"message-1","message":"{\"id\":\"42\",\"type\":\"SEAT_SOLD\"}"}`,
		`{"id":"42","type":"SEAT_SOLD"}`, `{"id":"42","type":7}`, `{"id":"\u0000","type":"\ud800"}`,
		"{\"id\":\"\xff\"}",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m := readMessage(body)
		if m.eventID == "" {
			t.Fatal("no id")
		}
		for _, text := range []string{m.id, m.eventID, m.typ, string(m.body)} {
			if stored := messaging.Storable(text); !utf8.ValidString(stored) || strings.Contains(stored, "\x00") {
				t.Fatalf("%q cannot be stored", stored)
			}
		}
		if again := readMessage(body); again.eventID != m.eventID {
			t.Fatalf("the same message has the ids %q and %q", m.eventID, again.eventID)
		}
	})
}
