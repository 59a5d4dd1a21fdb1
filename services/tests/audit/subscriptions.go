package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Subscription is the delivery of one event type of a topic to a consumer.
type Subscription struct{ Consumer, Topic, Type string }

var byType = regexp.MustCompile(`^event\.type == "([A-Z_]+)"$`)

// ReadSubscriptions returns the subscriptions that the Dapr manifests in a directory of components declare. It returns
// an error if the directory has none, or if a rule matches anything but one event type.
func ReadSubscriptions(dir string) ([]Subscription, error) {
	files, err := filepath.Glob(filepath.Join(dir, "subscription-*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no subscriptions in %s: %w", dir, err)
	}
	var all []Subscription
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the subscriptions: %w", err)
		}
		defer file.Close()
		for dec := yaml.NewDecoder(file); ; {
			var doc struct {
				Scopes []string
				Spec   struct {
					Topic  string
					Routes struct {
						Rules []struct{ Match string }
					}
				}
			}
			if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			for _, rule := range doc.Spec.Routes.Rules {
				match := byType.FindStringSubmatch(rule.Match)
				if match == nil {
					return nil, fmt.Errorf("%s: rule %q does not match a single event type", path, rule.Match)
				}
				for _, consumer := range doc.Scopes {
					all = append(all, Subscription{consumer, doc.Spec.Topic, match[1]})
				}
			}
		}
	}
	return all, nil
}
