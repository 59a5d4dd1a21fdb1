package money

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The reasons why a card cannot be charged an amount.
var (
	ErrNotSupported = errors.New("is in a currency that cards cannot be charged in")
	ErrTooSmall     = errors.New("is below the smallest charge")
	ErrTooLarge     = errors.New("is above the largest charge")
	ErrChargeDigits = errors.New("has more decimals than a card can be charged")
)

// notSupported has codes of funds, and of currencies that Stripe does not charge (https://docs.stripe.com/currencies).
var notSupported = []Currency{
	"BOV", "BTN", "CHE", "CHW", "CLF", "COU", "CUP", "ERN", "IQD", "IRR", "KPW", "LYD", "MXV", "SDG", "SSP", "SYP", "TMT",
	"USN", "UYI", "UYW", "VED", "VES", "XAD", "ZWG",
}

// Stripe's decimals differ from ISO 4217's in some currencies (https://docs.stripe.com/currencies, "Zero-decimal
// currencies", "Three-decimal currencies" and "Special cases"). All others have two decimals at Stripe. MGA has none;
// ISK and UGX have two, which must be 0. The third decimal of a three-decimal currency must be 0.
var (
	zeroDecimal = []Currency{
		"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
	}
	threeDecimal = []Currency{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// smallest has the smallest charges that Stripe documents, in Stripe's minor units. For other currencies Stripe
// converts 0.50 USD at the rate of the day; only Stripe can refuse an amount below that.
var smallest = map[Currency]int64{
	"AED": 200, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30,
	"HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200,
	"RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}

// The largest charge has eight digits in Stripe's minor units, and twelve in Indonesian rupiah.
const (
	largest    = 99_999_999
	largestIDR = 999_999_999_999
)

// CardUnits returns a as a number of Stripe's minor units, in which a card is charged and refunded. It returns an error
// that wraps ErrNotSupported or ErrChargeDigits if there is no such number. The text of the errors of CardUnits and
// ChargeUnits continues a sentence: "the price has more decimals than a card can be charged in KWD".
func (a Amount) CardUnits() (int64, error) {
	if slices.Contains(notSupported, a.Currency) {
		return 0, ErrNotSupported
	}
	decimals := a.Currency.cardDecimals()
	whole, fraction, _ := strings.Cut(string(a.Decimal()), ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > min(decimals, 2) {
		return 0, fmt.Errorf("%w in %s", ErrChargeDigits, a.Currency)
	}
	return strconv.ParseInt(whole+fraction+strings.Repeat("0", decimals-len(fraction)), 10, 64)
}

// ChargeUnits returns CardUnits of an amount that a card can be charged. It returns the errors of CardUnits, and an
// error that wraps ErrTooSmall or ErrTooLarge if the amount is not between the smallest and the largest charge.
func (a Amount) ChargeUnits() (int64, error) {
	units, err := a.CardUnits()
	if err != nil {
		return 0, err
	}
	least, most := max(1, smallest[a.Currency]), int64(largest)
	if a.Currency == "IDR" {
		most = largestIDR
	}
	switch {
	case units < least:
		return 0, fmt.Errorf("%w of %s", ErrTooSmall, OfCardUnits(least, a.Currency))
	case units > most:
		return 0, fmt.Errorf("%w of %s", ErrTooLarge, OfCardUnits(most, a.Currency))
	}
	return units, nil
}

// cardDecimals returns the number of decimals that the currency has at Stripe.
func (c Currency) cardDecimals() int {
	switch {
	case slices.Contains(zeroDecimal, c):
		return 0
	case slices.Contains(threeDecimal, c):
		return 3
	}
	return 2
}

// OfCardUnits returns Stripe's minor units as an amount, without a fraction that the currency does not have.
func OfCardUnits(units int64, c Currency) Amount {
	for range c.cardDecimals() - c.digits() {
		units /= 10
	}
	for range c.digits() - c.cardDecimals() {
		units *= 10
	}
	return Of(units, c)
}
