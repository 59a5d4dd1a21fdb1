package stack

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// subscription is the subscription of a queue to a topic.
type subscription struct{ topic, queue string }

// Subscribed reports whether a queue is subscribed to a topic.
func (s *Stack) Subscribed(ctx context.Context, topic, queue string) (bool, error) {
	have, err := s.subscriptions(ctx)
	return have[subscription{topic, queue}], err
}

// readSubscriptions reads the subscriptions of queues to topics from the resources.
func readSubscriptions(dirs []string) ([]subscription, error) {
	var all []subscription
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "subscription-*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("find the subscriptions: %w", err)
		}
		for _, path := range files {
			file, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("read the subscriptions: %w", err)
			}
			defer file.Close()
			for dec := yaml.NewDecoder(file); ; {
				var doc struct {
					Spec struct {
						PubsubName string `yaml:"pubsubname"`
						Topic      string `yaml:"topic"`
					} `yaml:"spec"`
				}
				if err := dec.Decode(&doc); err != nil {
					break // the end of the file, or an error, which the sidecars report
				}
				all = append(all, subscription{doc.Spec.Topic, doc.Spec.PubsubName})
			}
		}
	}
	return all, nil
}

// unsubscribed returns a queue that is not subscribed to its topic yet, or "". It matters because a message to a topic
// without subscriptions is lost, and sidecars subscribe some time after they are healthy.
func (s *Stack) unsubscribed(ctx context.Context) string {
	have, err := s.subscriptions(ctx)
	if err != nil {
		return "SNS (" + err.Error() + ")"
	}
	for _, sub := range s.queues {
		if !have[sub] {
			return sub.queue + " to subscribe to " + sub.topic
		}
	}
	return ""
}

// subscriptions returns the subscriptions that SNS has.
func (s *Stack) subscriptions(ctx context.Context) (map[subscription]bool, error) {
	have := map[subscription]bool{}
	for next := ""; ; {
		form := url.Values{"Action": {"ListSubscriptions"}, "Version": {"2010-03-31"}}
		if next != "" {
			form.Set("NextToken", next)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.AWSEndpoint(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		// The emulator reads the region and the service from the scope, and does not check the signature.
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+
			"Credential=local/20250101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0")
		res, err := probe.Do(req)
		if err != nil {
			return nil, errors.Unwrap(err)
		}
		var page struct {
			Members []struct {
				TopicArn string
				Endpoint string
			} `xml:"ListSubscriptionsResult>Subscriptions>member"`
			NextToken string `xml:"ListSubscriptionsResult>NextToken"`
		}
		err = xml.NewDecoder(res.Body).Decode(&page)
		if cerr := res.Body.Close(); err == nil {
			err = cerr
		}
		if res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		}
		if err != nil {
			return nil, err
		}
		for _, m := range page.Members {
			have[subscription{topic: resourceName(m.TopicArn), queue: resourceName(m.Endpoint)}] = true
		}
		if next = page.NextToken; next == "" {
			return have, nil
		}
	}
}

// resourceName returns the last part of an ARN.
func resourceName(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }
