package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/app"
)

func TestValuesAcceptOnlyTheirKind(t *testing.T) {
	t.Parallel()
	var (
		positive app.Positive
		duration app.PositiveDuration
		url      app.URL
		address  app.Address
	)
	for _, tt := range []struct {
		name    string
		into    envconfig.Decoder
		valid   map[string]any
		invalid []string
	}{
		{
			"Positive", &positive,
			map[string]any{"1": app.Positive(1), "250": app.Positive(250)},
			[]string{"", "0", "-1", "1.5", "one", "99999999999999999999"},
		},
		{
			"PositiveDuration", &duration,
			map[string]any{"15s": app.PositiveDuration(15 * time.Second), "1ms": app.PositiveDuration(time.Millisecond)},
			[]string{"", "0", "0s", "-1s", "15", "soon"},
		},
		{
			"URL", &url,
			map[string]any{
				"https://tickets.example":      app.URL("https://tickets.example"),
				"http://127.0.0.1:8082/":       app.URL("http://127.0.0.1:8082"),
				"https://tickets.example/shop": app.URL("https://tickets.example/shop"),
			},
			[]string{
				"", "/api", "tickets.example", "https://", "ftp://tickets.example", "http://%",
				"https://" + strings.Repeat("a", 150),
			},
		},
		{
			"Address", &address,
			map[string]any{"ops@example.com": app.Address("ops@example.com")},
			[]string{"", "ops", "Ops <ops@example.com>", "<ops@example.com>", "a@example.com, b@example.com"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for text, want := range tt.valid {
				require.NoError(t, tt.into.Decode(text), text)
				require.EqualValues(t, want, value(tt.into), text)
			}
			before := value(tt.into)
			for _, text := range tt.invalid {
				require.Error(t, tt.into.Decode(text), text)
				require.Equal(t, before, value(tt.into), "%q does not change the value", text)
			}
		})
	}
}

func value(d envconfig.Decoder) any {
	switch v := d.(type) {
	case *app.Positive:
		return *v
	case *app.PositiveDuration:
		return *v
	case *app.URL:
		return *v
	case *app.Address:
		return *v
	default:
		return nil
	}
}
