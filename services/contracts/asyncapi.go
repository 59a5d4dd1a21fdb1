// Package contracts reads from asyncapi.yaml which service consumes which events.
package contracts

import (
	_ "embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed asyncapi.yaml
var asyncAPI []byte

// Subscription is an event type that a service receives from a topic through a queue.
type Subscription struct{ Service, Queue, Topic, Type string }

// Subscriptions returns the subscriptions of all services in asyncapi.yaml.
func Subscriptions() ([]Subscription, error) {
	type reference struct {
		To string `yaml:"$ref"`
	}
	var document struct {
		Operations map[string]struct {
			Action   string
			Channel  reference
			Messages []reference
			Bindings struct {
				SNS struct {
					Consumers []struct{ Endpoint struct{ Name string } }
				} `yaml:"sns"`
			}
		}
	}
	if err := yaml.Unmarshal(asyncAPI, &document); err != nil {
		return nil, fmt.Errorf("asyncapi.yaml: %w", err)
	}
	var all []Subscription
	for name, operation := range document.Operations {
		if operation.Action != "receive" {
			continue
		}
		consumers := operation.Bindings.SNS.Consumers
		if len(consumers) != 1 {
			return nil, fmt.Errorf("asyncapi.yaml: operation %s has %d queues, want 1", name, len(consumers))
		}
		service, _, _ := strings.Cut(name, ".")
		for _, message := range operation.Messages {
			all = append(all, Subscription{
				Service: service, Queue: consumers[0].Endpoint.Name,
				Topic: lastPart(operation.Channel.To), Type: lastPart(message.To),
			})
		}
	}
	return all, nil
}

// lastPart returns the last part of a reference, the name of its target.
func lastPart(reference string) string { return reference[strings.LastIndexByte(reference, '/')+1:] }
