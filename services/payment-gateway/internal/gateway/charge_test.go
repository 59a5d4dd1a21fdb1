package gateway

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
)

// What Stripe says about a decline becomes a part of events and mails, which are bounded in bytes.
func TestDeclineIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 100_000)
	got := declined("key", "pi_1", &stripe.Error{Msg: long, DeclineCode: stripe.DeclineCode(long)})
	require.Equal(t, maxMessage, utf8.RuneCountInString(got.Message))
	require.Equal(t, maxCode, utf8.RuneCountInString(got.DeclineCode))

	got = declined("key", "pi_1", &stripe.Error{Msg: "Insufficient funds.", DeclineCode: "insufficient_funds"})
	require.Equal(t, "Insufficient funds.", got.Message)
	require.Equal(t, "INSUFFICIENT_FUNDS", got.DeclineCode)
}
