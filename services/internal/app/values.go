package app

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The types below validate the value of a variable while it is read. A value that they reject stops the service at
// start with an error that names the variable.

// Positive is a whole number of at least 1.
type Positive int

// Decode implements envconfig.Decoder.
func (p *Positive) Decode(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a whole number of at least 1", value)
	}
	*p = Positive(n)
	return nil
}

// PositiveDuration is a duration longer than zero, such as 15s.
type PositiveDuration time.Duration

// Decode implements envconfig.Decoder.
func (p *PositiveDuration) Decode(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration longer than 0, such as 15s", value)
	}
	*p = PositiveDuration(d)
	return nil
}

// URL is an absolute http or https URL of at most maxURL bytes, without a slash at its end.
type URL string

// maxURL bounds the addresses that events and mails contain many times.
const maxURL = 150

// Decode implements envconfig.Decoder.
func (u *URL) Decode(value string) error {
	parsed, err := url.Parse(value)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return fmt.Errorf("%q is not an absolute http or https URL", value)
	}
	if len(value) > maxURL {
		return fmt.Errorf("%q is longer than %d bytes", value, maxURL)
	}
	*u = URL(strings.TrimSuffix(value, "/"))
	return nil
}

// Address is an e-mail address without a name.
type Address string

// Decode implements envconfig.Decoder.
func (a *Address) Decode(value string) error {
	parsed, err := mail.ParseAddress(value)
	if err != nil {
		return fmt.Errorf("%q is not an e-mail address: %w", value, err)
	}
	if parsed.Address != value {
		return errors.New("an e-mail address without a name is needed, such as " + parsed.Address)
	}
	*a = Address(value)
	return nil
}
