package web

import (
	"encoding/json"
	"reflect"
)

// Optional is a JSON field that may be absent, and then has no Value. Unlike a pointer it takes null for
// what it is in such a field, a value of the wrong type.
type Optional[T any] struct{ Value *T }

// UnmarshalJSON reads the field's value. Decode names the field in its error.
func (o *Optional[T]) UnmarshalJSON(body []byte) error {
	if string(body) == "null" {
		return &json.UnmarshalTypeError{Value: "null", Type: reflect.TypeFor[T]()}
	}
	o.Value = new(T)
	return json.Unmarshal(body, o.Value)
}
