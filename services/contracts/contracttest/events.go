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

// Event fails t unless an event is as CheckEvent wants it.
func Event(t testing.TB, cloudEvent []byte) {
	t.Helper()
	if err := CheckEvent(cloudEvent); err != nil {
		t.Error(err)
	}
}

// CheckEvent says what is wrong with an event as it was published or delivered: nothing, if it is a
// CloudEvent with the attributes that consumers count on, whose data is as its type's JSON Schema has it.
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
		return fmt.Errorf("an event is no CloudEvent in JSON: %w\n%s", err, cloudEvent)
	}
	if _, err := uuid.Parse(e.ID); err != nil || e.SpecVersion != "1.0" || e.Source == "" || e.Subject == "" {
		return fmt.Errorf("a CloudEvent lacks an attribute: specversion %q, id %q, source %q, subject %q", e.SpecVersion, e.ID, e.Source, e.Subject)
	}
	if err := Envelope(e.Type, e.Data); err != nil {
		return fmt.Errorf("%s %s is not as its schema has it: %w\n%s", e.Type, e.ID, err, e.Data)
	}
	return nil
}

// Envelope says what is wrong with the envelope of an event of this type.
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
