package web

import (
	"encoding/json"
	"reflect"
)

// Optional is a JSON field that may be absent; then Value is nil. Unlike a pointer, it rejects null as a value of the
// wrong type.
type Optional[T any] struct{ Value *T }

// UnmarshalJSON reads the value of the field. Decode adds the name of the field to its error.
func (o *Optional[T]) UnmarshalJSON(body []byte) error {
	if string(body) == "null" {
		return &json.UnmarshalTypeError{Value: "null", Type: reflect.TypeFor[T]()}
	}
	o.Value = new(T)
	return json.Unmarshal(body, o.Value)
}

// Clearable is a JSON field that may be absent or null. An absent field changes nothing; null removes the value.
type Clearable[T any] struct {
	Present bool
	Value   *T // nil if the field is absent or null
}

// UnmarshalJSON reads the value of the field. Decode adds the name of the field to its error.
func (c *Clearable[T]) UnmarshalJSON(body []byte) error {
	c.Present = true
	return json.Unmarshal(body, &c.Value)
}
