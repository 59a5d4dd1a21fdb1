package gateway

import (
	"slices"
	"strconv"
	"strings"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Stripe's minor units are not always ISO 4217's: its documentation ("Zero-decimal currencies",
// "Three-decimal currencies") lists those with other than two digits, MGA counts as zero-decimal and
// ISK and UGX as two-decimal ones, and of three decimals the last must be zero.
var (
	zeroDecimal = []money.Currency{
		"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
	}
	threeDecimal = []money.Currency{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// minorUnits gives the number that means amount to Stripe. It returns ErrAmount for nothing, for less
// than nothing, and for what Stripe's units cannot express.
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
