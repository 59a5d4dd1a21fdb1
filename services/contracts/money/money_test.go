package money_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

func TestDecimalAndInAreInverse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		currency money.Currency
		minor    int64
		decimal  string
	}{
		{"USD", 15000, "150.00"},
		{"USD", 5, "0.05"},
		{"USD", 0, "0.00"},
		{"JPY", 150, "150"},
		{"KWD", 1500, "1.500"},
	} {
		require.Equal(t, money.Decimal(tt.decimal), money.Of(tt.minor, tt.currency).Decimal())
		amount, err := money.Decimal(tt.decimal).In(tt.currency)
		require.NoError(t, err)
		require.Equal(t, money.Of(tt.minor, tt.currency), amount)
	}
}

func TestInIsExact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, decimal string
		currency      money.Currency
		minor         int64
		err           error
	}{
		{"FewerDigitsThanTheCurrency", "50", "USD", 5000, nil},
		{"TrailingZerosBeyondTheCurrency", "50.000", "USD", 5000, nil},
		{"TooPrecise", "50.001", "USD", 0, money.ErrPrecision},
		{"AnyFractionOfYen", "50.5", "JPY", 0, money.ErrPrecision},
		{"Negative", "-1", "USD", 0, money.ErrRange},
		{"NegativeFraction", "-0.01", "USD", 0, money.ErrRange},
		{"AboveTheLimit", "10000000000.00", "USD", 0, money.ErrRange},
		{"BeyondInt64", "99999999999999999999999", "USD", 0, money.ErrRange},
		{"Missing", "", "USD", 0, money.ErrNotDecimal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			amount, err := money.Decimal(tt.decimal).In(tt.currency)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.minor, amount.Minor)
		})
	}
}

func TestDecimalKeepsItsDigitsInJSON(t *testing.T) {
	t.Parallel()
	var got struct{ Price money.Decimal }
	require.NoError(t, json.Unmarshal([]byte(`{"price": 50.00}`), &got))
	out, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, `{"Price": 50.00}`, string(out))
	require.Contains(t, string(out), "50.00", "the digits are unchanged")

	for _, invalid := range []string{`"50.00"`, `5e1`, `true`, `{}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(`{"price": `+invalid+`}`), &got), invalid)
	}
}

func TestParseCurrencyAcceptsOnlyISO4217Codes(t *testing.T) {
	t.Parallel()
	_, err := money.ParseCurrency("EUR")
	require.NoError(t, err)
	for _, invalid := range []string{"", "usd", "XXQ", "DOLLARS"} {
		_, err := money.ParseCurrency(invalid)
		require.ErrorIs(t, err, money.ErrCurrency, invalid)
	}
}
