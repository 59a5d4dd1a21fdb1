package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// noLimit is a value of a limit that no measurement reaches.
const noLimit = 100_000

// others are the fields of a YAML document that the overlay does not change.
type others = map[string]yaml.Node

// runFile is dapr.yaml.
type runFile struct {
	Apps   []runApp `yaml:"apps"`
	Others others   `yaml:",inline"`
}

// runApp is an app in dapr.yaml.
type runApp struct {
	AppID          string            `yaml:"appID"`
	MaxConcurrency int               `yaml:"appMaxConcurrency,omitempty"`
	Env            map[string]string `yaml:"env"`
	Others         others            `yaml:",inline"`
}

// rateLimit is a component that limits the rate of calls.
type rateLimit struct {
	Spec struct {
		Metadata []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
		} `yaml:"metadata"`
		Others others `yaml:",inline"`
	} `yaml:"spec"`
	Others others `yaml:",inline"`
}

// overlay changes the files that a system is started from, as the setup requires.
func (s *system) overlay(set setup, path string, content []byte) ([]byte, error) {
	name := strings.TrimSuffix(filepath.Base(path), ".yaml")
	switch {
	case path == "dapr.yaml":
		return s.overlayApps(set, content)
	case set.raiseLimits && strings.HasPrefix(name, "rate-limit-"):
		return s.overlayRateLimit(name, content)
	default:
		return content, nil
	}
}

func (s *system) overlayApps(set setup, content []byte) ([]byte, error) {
	var f runFile
	if err := yaml.Unmarshal(content, &f); err != nil {
		return nil, err
	}
	for i := range f.Apps {
		app := &f.Apps[i]
		if app.Env == nil {
			app.Env = map[string]string{}
		}
		for name, value := range set.env[app.AppID] {
			app.Env[name] = value
		}
		if set.raiseLimits && app.MaxConcurrency != 0 {
			s.limitRaised(app.AppID, "appMaxConcurrency", strconv.Itoa(app.MaxConcurrency))
			app.MaxConcurrency = noLimit
		}
		if set.raiseLimits && app.AppID == "payment-service" {
			s.limitRaised(app.AppID, "CHARGES_PER_SECOND", app.Env["CHARGES_PER_SECOND"])
			app.Env["CHARGES_PER_SECOND"] = strconv.Itoa(noLimit)
		}
		if s.proxy != 0 {
			app.Env["DAPR_HTTP_PORT"] = strconv.Itoa(s.proxy)
		}
	}
	return yaml.Marshal(f)
}

func (s *system) overlayRateLimit(name string, content []byte) ([]byte, error) {
	var c rateLimit
	if err := yaml.Unmarshal(content, &c); err != nil {
		return nil, err
	}
	for i := range c.Spec.Metadata {
		m := &c.Spec.Metadata[i]
		s.limitRaised(name, "value", m.Value)
		m.Value = strconv.Itoa(noLimit)
	}
	return yaml.Marshal(c)
}

// limitRaised records a raised limit for the notes of the results.
func (s *system) limitRaised(of, limit, before string) {
	if before == "" {
		before = "its default"
	}
	s.raised = append(s.raised, fmt.Sprintf("%s: %s %d instead of %s", of, limit, noLimit, before))
}
