package gateway

import (
	"slices"
	"strconv"
	"strings"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Stripe's minor units differ from ISO 4217's in some currencies (https://docs.stripe.com/currencies, "Zero-decimal
// currencies" and "Three-decimal currencies"). MGA counts as zero-decimal; ISK and UGX count as two-decimal. In
// three-decimal currencies the last digit must be zero.
var (
	zeroDecimal = []money.Currency{
		"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
	}
	threeDecimal = []money.Currency{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// minorUnits returns amount as a number of Stripe's minor units. It returns ErrAmount if amount is zero or negative, or
// has more digits than Stripe's units.
func minorUnits(amount money.Amount) (int64, error) {
	digits := 2
	switch {
	case slices.Contains(zeroDecimal, amount.Currency):
		digits = 0
	case slices.Contains(threeDecimal, amount.Currency):
		digits = 3
	}
	whole, fraction, _ := strings.Cut(string(amount.Decimal()), ".")
	fraction = strings.TrimRight(fraction, "0")
	if amount.Minor <= 0 || len(fraction) > min(digits, 2) {
		return 0, ErrAmount
	}
	minor, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", digits-len(fraction)), 10, 64)
	if err != nil {
		return 0, ErrAmount.Because(err)
	}
	return minor, nil
}
