package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readQueues returns the queues of the SNS/SQS emulator with their approximate numbers of messages.
func readQueues(ctx context.Context, endpoint string) ([]queue, error) {
	var list struct{ QueueUrls []string }
	if err := askSQS(ctx, endpoint, "ListQueues", struct{}{}, &list); err != nil {
		return nil, err
	}
	slices.Sort(list.QueueUrls)
	var all []queue
	for _, url := range list.QueueUrls {
		request := struct {
			QueueURL       string `json:"QueueUrl"`
			AttributeNames []string
		}{url, []string{"All"}}
		var answer struct{ Attributes map[string]string }
		if err := askSQS(ctx, endpoint, "GetQueueAttributes", request, &answer); err != nil {
			return nil, err
		}
		q := queue{Name: url[strings.LastIndexByte(url, '/')+1:]}
		for name, count := range map[string]*int{"": &q.Visible, "NotVisible": &q.InFlight, "Delayed": &q.Delayed} {
			var err error
			if *count, err = strconv.Atoi(answer.Attributes["ApproximateNumberOfMessages"+name]); err != nil {
				return nil, fmt.Errorf("%s: %w", q.Name, err)
			}
		}
		all = append(all, q)
	}
	return all, nil
}

func askSQS(ctx context.Context, endpoint, action string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return ask(ctx, http.MethodPost, endpoint+"/", string(body), "AmazonSQS."+action, answer)
}

var client = &http.Client{Timeout: 15 * time.Second}

// ask sends a request to one of the emulators, which do not check signatures, and decodes the answer. It returns an
// error for any status but 200.
func ask(ctx context.Context, method, url, body, target string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/sqs/aws4_request, "+
			"SignedHeaders=host, Signature=0")
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(url + ": " + res.Status)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}
