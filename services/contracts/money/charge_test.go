package money_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

func TestChargeUnitsAreStripesWithinItsLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		amount money.Decimal
		code   money.Currency
		want   int64
		err    error
	}{
		"TwoDecimals":            {amount: "150.00", code: "USD", want: 15000},
		"NoDecimals":             {amount: "500", code: "JPY", want: 500},
		"ThreeDecimals":          {amount: "1.500", code: "KWD", want: 1500},
		"ThirdDecimalMustBeZero": {amount: "1.505", code: "KWD", err: money.ErrChargeDigits},
		"ISKHasTwoAtStripe":      {amount: "100", code: "ISK", want: 10000},
		"MGAHasNoneAtStripe":     {amount: "100.00", code: "MGA", want: 100},
		"FractionOfMGA":          {amount: "100.50", code: "MGA", err: money.ErrChargeDigits},
		"SmallestDollars":        {amount: "0.50", code: "USD", want: 50},
		"TooFewDollars":          {amount: "0.49", code: "USD", err: money.ErrTooSmall},
		"SmallestYen":            {amount: "50", code: "JPY", want: 50},
		"TooFewYen":              {amount: "49", code: "JPY", err: money.ErrTooSmall},
		"SmallestForints":        {amount: "175.00", code: "HUF", want: 17500},
		"TooFewForints":          {amount: "174.00", code: "HUF", err: money.ErrTooSmall},
		"Nothing":                {amount: "0", code: "KES", err: money.ErrTooSmall},
		"LargestDollars":         {amount: "999999.99", code: "USD", want: 99_999_999},
		"TooManyDollars":         {amount: "1000000.00", code: "USD", err: money.ErrTooLarge},
		"LargestYen":             {amount: "99999999", code: "JPY", want: 99_999_999},
		"TooManyISK":             {amount: "1000000", code: "ISK", err: money.ErrTooLarge},
		"RupiahHasTwelveDigits":  {amount: "1500000.00", code: "IDR", want: 150_000_000},
		"LargestRupiah":          {amount: "9999999999.99", code: "IDR", want: 999_999_999_999},
		"CurrencyWithoutCards":   {amount: "10.00", code: "CUP", err: money.ErrNotSupported},
		"FundsCode":              {amount: "10.00", code: "XAD", err: money.ErrNotSupported},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			amount, err := tt.amount.In(tt.code)
			require.NoError(t, err)
			got, err := amount.ChargeUnits()
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestChargeErrorsNameTheLimit(t *testing.T) {
	t.Parallel()
	_, err := money.Of(10, "USD").ChargeUnits()
	require.EqualError(t, err, "is below the smallest charge of 0.50 USD")
	_, err = money.Of(1_000_000, "ISK").ChargeUnits()
	require.EqualError(t, err, "is above the largest charge of 999999 ISK")
	_, err = money.Of(10_000_000_001, "MGA").ChargeUnits()
	require.ErrorIs(t, err, money.ErrChargeDigits)
}

func TestRefundsHaveNoSmallestAmount(t *testing.T) {
	t.Parallel()
	units, err := money.Of(1, "USD").CardUnits()
	require.NoError(t, err)
	require.EqualValues(t, 1, units)
	_, err = money.Of(1505, "KWD").CardUnits()
	require.ErrorIs(t, err, money.ErrChargeDigits)
}
