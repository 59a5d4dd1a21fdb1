// Command access reports which calls Dapr's access control allows under some configurations. It uses Dapr's own parser
// of access control lists and its own lookup of operations. It reads JSON from standard input,
//
//	{"configurations": {APP-ID: SPEC}, "calls": [{"caller", "callee", "verb", "path"}]}
//
// and writes a list with true for each call that is allowed.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/dapr/dapr/pkg/acl"
	"github.com/dapr/dapr/pkg/config"
)

type call struct{ Caller, Callee, Verb, Path string }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var in struct {
		Configurations map[string]config.ConfigurationSpec
		Calls          []call
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return fmt.Errorf("decode standard input: %w", err)
	}
	lists := map[string]*config.AccessControlList{}
	for app, spec := range in.Configurations {
		list, err := acl.ParseAccessControlSpec(spec.AccessControlSpec, true)
		if err != nil {
			return fmt.Errorf("access control of %s: %w", app, err)
		}
		if list == nil {
			return fmt.Errorf("the configuration of %s has no access control", app)
		}
		lists[app] = list
	}
	answers := make([]bool, len(in.Calls))
	for i, c := range in.Calls {
		if lists[c.Callee] == nil || lists[c.Caller] == nil {
			return fmt.Errorf("no configuration of %s or %s", c.Caller, c.Callee)
		}
		// A sidecar belongs to the trust domain that its own configuration names.
		answers[i] = decide(lists[c.Callee], lists[c.Caller].TrustDomain, c) == config.AllowAccess
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// decide returns Dapr's action for a call. It repeats a function that Dapr does not export.
func decide(list *config.AccessControlList, trustDomain string, c call) string {
	policy, ok := list.PolicySpec[c.Caller+"||eventbooking"]
	if !ok || policy.TrustDomain != trustDomain {
		return list.DefaultAction
	}
	action := list.DefaultAction
	if policy.DefaultAction != "" {
		action = policy.DefaultAction
	}
	if operation := policy.AppOperationActions.Search(strings.ToLower(c.Path)); operation != nil {
		if forVerb, ok := operation.VerbAction[c.Verb]; ok {
			return forVerb
		}
		if forAny, ok := operation.VerbAction["*"]; ok {
			return forAny
		}
	}
	return action
}
