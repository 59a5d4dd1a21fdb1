package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

func TestMinorUnits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		amount money.Decimal
		code   money.Currency
		want   int64
		err    error
	}{
		"TwoDigits":               {amount: "150.00", code: "USD", want: 15000},
		"OneCent":                 {amount: "0.01", code: "EUR", want: 1},
		"NoDigits":                {amount: "500", code: "JPY", want: 500},
		"ThreeDigits":             {amount: "1.500", code: "KWD", want: 1500},
		"ThirdDigitMustBeZero":    {amount: "1.505", code: "KWD", err: ErrAmount},
		"ISKHasTwoDigitsAtStripe": {amount: "100", code: "ISK", want: 10000},
		"MGAHasNoDigitsAtStripe":  {amount: "100.00", code: "MGA", want: 100},
		"MGAFractionRejected":     {amount: "100.20", code: "MGA", err: ErrAmount},
		"Zero":                    {amount: "0.00", code: "USD", err: ErrAmount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			amount, err := tt.amount.In(tt.code)
			require.NoError(t, err)

			got, err := minorUnits(amount)

			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}
