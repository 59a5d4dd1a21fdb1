package contracttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/eventbooking/eventbooking/services/contracts/events"
)

// Event reports the error of CheckEvent, if any, as an error of tb.
func Event(tb testing.TB, cloudEvent []byte) {
	tb.Helper()
	if err := CheckEvent(cloudEvent); err != nil {
		tb.Error(err)
	}
}

// CheckEvent checks an event as it was published or delivered. It returns an error unless the event is a CloudEvent
// with the attributes that consumers depend on, and its data is valid by the JSON Schema of its type.
func CheckEvent(cloudEvent []byte) error {
	var e struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject"`
		Data        json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(cloudEvent, &e); err != nil {
		return fmt.Errorf("the event is not a CloudEvent in JSON: %w\n%s", err, cloudEvent)
	}
	if _, err := uuid.Parse(e.ID); err != nil || e.SpecVersion != "1.0" || e.Source == "" || e.Subject == "" {
		return fmt.Errorf("CloudEvent with a missing or invalid attribute: specversion %q, id %q, source %q, subject %q",
			e.SpecVersion, e.ID, e.Source, e.Subject)
	}
	if err := Envelope(e.Type, e.Data); err != nil {
		return fmt.Errorf("%s %s does not match its schema: %w\n%s", e.Type, e.ID, err, e.Data)
	}
	return nil
}

// Envelope checks the envelope of an event against the JSON Schema of its type. It returns an error that wraps
// fs.ErrNotExist if the type has no schema.
func Envelope(eventType string, envelope []byte) error {
	content, err := events.Schema(eventType)
	if err != nil {
		return fmt.Errorf("event type %q has no schema: %w", eventType, err)
	}
	definition, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("schema of %s: %w", eventType, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(eventType, definition); err != nil {
		return fmt.Errorf("schema of %s: %w", eventType, err)
	}
	schema, err := compiler.Compile(eventType)
	if err != nil {
		return fmt.Errorf("schema of %s: %w", eventType, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(envelope))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return schema.Validate(value)
}
