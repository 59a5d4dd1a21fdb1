package contracttest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/contracts/events"
)

// components is the directory of the local components.
const components = "../../../components/local/"

// asyncAPI has the fields of the document that the tests read.
type asyncAPI struct {
	Channels map[string]struct {
		Address  string
		Messages map[string]reference
		Bindings struct {
			SQS struct {
				Queue struct {
					Name              string
					VisibilityTimeout int `yaml:"visibilityTimeout"`
					RedrivePolicy     struct {
						DeadLetterQueue struct{ Name string } `yaml:"deadLetterQueue"`
						MaxReceiveCount int                   `yaml:"maxReceiveCount"`
					} `yaml:"redrivePolicy"`
				}
			} `yaml:"sqs"`
		}
	}
	Operations map[string]struct {
		Action   string
		Channel  reference
		Messages []reference
	}
}

type reference struct {
	To string `yaml:"$ref"`
}

// name returns the last part of the reference.
func (r reference) name() string { return r.To[strings.LastIndex(r.To, "/")+1:] }

// readAsyncAPI returns the document as asyncAPI and as it is.
func readAsyncAPI(t *testing.T) (asyncAPI, any) {
	t.Helper()
	content, err := os.ReadFile("../asyncapi.yaml")
	require.NoError(t, err)
	var document asyncAPI
	require.NoError(t, yaml.Unmarshal(content, &document))
	var raw any
	require.NoError(t, yaml.Unmarshal(content, &raw))
	return document, raw
}

// The schema is that of the AsyncAPI Initiative (spec-json-schemas 6.11.1, Apache License 2.0).
func TestAsyncAPIDocumentIsValid(t *testing.T) {
	t.Parallel()
	_, document := readAsyncAPI(t)
	file, err := os.Open("testdata/asyncapi-3.0.0.schema.json.gz")
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	definition, err := jsonschema.UnmarshalJSON(unzipped)
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("asyncapi.json", definition))
	schema, err := compiler.Compile("asyncapi.json")
	require.NoError(t, err)

	asJSON, err := json.Marshal(document)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(value))
}

func TestAsyncAPIReferencesResolve(t *testing.T) {
	t.Parallel()
	_, document := readAsyncAPI(t)
	schemas := map[string]bool{}
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if to, is := node["$ref"].(string); is {
				if file, external := strings.CutPrefix(to, "events/"); external {
					require.FileExists(t, "../events/"+file)
					schemas[file] = true
				} else {
					target := document
					for part := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
						next, found := target.(map[string]any)[part]
						require.True(t, found, to)
						target = next
					}
				}
			}
			for _, child := range node {
				walk(child)
			}
		case []any:
			for _, child := range node {
				walk(child)
			}
		}
	}
	walk(document)

	files, err := filepath.Glob("../events/*.schema.json")
	require.NoError(t, err)
	require.Len(t, schemas, len(files), "each event type has a message")
}

// subscribed returns the local subscriptions, without event types.
func subscribed(t *testing.T) map[contracts.Subscription]bool {
	t.Helper()
	files, err := filepath.Glob(components + "subscription-*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[contracts.Subscription]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		documents := yaml.NewDecoder(bytes.NewReader(content))
		for {
			var subscription struct {
				Spec struct {
					PubSub string `yaml:"pubsubname"`
					Topic  string
					Routes map[string]any
				}
				Scopes []string
			}
			err := documents.Decode(&subscription)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.Len(t, subscription.Scopes, 1, file)
			require.Equal(t, map[string]any{"default": "/events"}, subscription.Spec.Routes,
				"%s: the service itself routes events by type", file)
			all[contracts.Subscription{
				Service: subscription.Scopes[0], Queue: subscription.Spec.PubSub, Topic: subscription.Spec.Topic,
			}] = true
		}
	}
	return all
}

// The tests of each service check with Handlers which event types it handles.
func TestSubscriptionsAreThoseOfAsyncAPI(t *testing.T) {
	t.Parallel()
	described, err := contracts.Subscriptions()
	require.NoError(t, err)
	topics, queued := map[contracts.Subscription]bool{}, map[contracts.Subscription]bool{}
	for _, s := range described {
		topics[contracts.Subscription{Service: s.Service, Queue: s.Queue, Topic: s.Topic}] = true
		queued[contracts.Subscription{Queue: s.Queue, Type: s.Type}] = true
	}
	require.Equal(t, subscribed(t), topics)

	document, _ := readAsyncAPI(t)
	for name, channel := range document.Channels {
		if channel.Bindings.SQS.Queue.Name == "" {
			continue
		}
		for eventType := range channel.Messages {
			s := contracts.Subscription{Queue: name, Type: eventType}
			require.True(t, queued[s], "%s in %s", eventType, name)
			delete(queued, s)
		}
	}
	require.Empty(t, queued, "event types that are received and that no queue contains")
}

// Each event type in Go goes to the topic that the document names, from the services whose components allow it.
func TestPublishedTypesAreThoseOfAsyncAPI(t *testing.T) {
	t.Parallel()
	document, _ := readAsyncAPI(t)
	published, scopes := map[string]bool{}, map[string]bool{}
	for name, operation := range document.Operations {
		if operation.Action != "send" {
			continue
		}
		service, _, _ := strings.Cut(name, ".")
		scopes[service+" "+operation.Channel.name()] = true
		for _, message := range operation.Messages {
			published[message.name()+" "+operation.Channel.name()] = true
		}
	}
	want := map[string]bool{
		"EVENT_UPDATED " + events.TopicEventUpdates:   true,
		"EVENT_PUBLISHED " + events.TopicEventUpdates: true,
		"EVENT_CANCELLED " + events.TopicEventUpdates: true,
	}
	for _, sample := range samples() {
		want[sample.Type()+" "+sample.Topic()] = true
	}
	require.Equal(t, want, published)

	allowed := map[string]bool{}
	for _, component := range []string{"pubsub.yaml", "event-updates.yaml"} {
		for pair := range strings.SplitSeq(metadata(t, components+component)["publishingScopes"], ";") {
			service, topics, _ := strings.Cut(pair, "=")
			for topic := range strings.SplitSeq(topics, ",") {
				allowed[service+" "+topic] = true
			}
		}
	}
	require.Equal(t, allowed, scopes)
}

func TestQueuesAreThoseOfAsyncAPI(t *testing.T) {
	t.Parallel()
	document, _ := readAsyncAPI(t)
	files, err := filepath.Glob(components + "*-queue.yaml")
	require.NoError(t, err)
	files = append(files, components+"event-updates.fifo.yaml")
	queues := 0
	for name, channel := range document.Channels {
		require.Equal(t, name, channel.Address)
		queue := channel.Bindings.SQS.Queue
		if queue.Name == "" {
			continue
		}
		queues++
		component := metadata(t, components+name+".yaml")
		require.Equal(t, component["consumerID"], queue.Name)
		require.Equal(t, component["sqsDeadLettersQueueName"], queue.RedrivePolicy.DeadLetterQueue.Name)
		require.Equal(t, component["messageReceiveLimit"], strconv.Itoa(queue.RedrivePolicy.MaxReceiveCount))
		require.Equal(t, component["messageVisibilityTimeout"], strconv.Itoa(queue.VisibilityTimeout))
	}
	require.Equal(t, len(files), queues)
}

// metadata returns the metadata of a component.
func metadata(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var component struct {
		Spec struct {
			Metadata []struct{ Name, Value string }
		}
	}
	require.NoError(t, yaml.Unmarshal(content, &component))
	values := map[string]string{}
	for _, entry := range component.Spec.Metadata {
		values[entry.Name] = entry.Value
	}
	return values
}
