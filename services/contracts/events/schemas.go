package events

import (
	"embed"
	"strings"
)

//go:embed *.schema.json
var schemas embed.FS

// Schema gives the JSON Schema of an event type's envelope, the data of its CloudEvent. It returns
// fs.ErrNotExist for a type that there is none of.
func Schema(eventType string) ([]byte, error) {
	return schemas.ReadFile(strings.ReplaceAll(strings.ToLower(eventType), "_", "-") + ".schema.json")
}
