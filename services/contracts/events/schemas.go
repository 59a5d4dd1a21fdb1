package events

import (
	"embed"
	"strings"
)

//go:embed *.schema.json
var schemas embed.FS

// Schema returns the JSON Schema of an event type's envelope, which is the data of its CloudEvent. It returns
// fs.ErrNotExist for an unknown type.
func Schema(eventType string) ([]byte, error) {
	return schemas.ReadFile(strings.ReplaceAll(strings.ToLower(eventType), "_", "-") + ".schema.json")
}
