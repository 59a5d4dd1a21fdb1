// Package money holds amounts as integer minor units of an ISO 4217 currency and reads and writes
// them as the contract's decimal JSON numbers with the currency's digits (150.00). No float ever
// holds money.
package money

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/bojanz/currency"
)

// Currency is an ISO 4217 code such as USD.
type Currency string

// ErrCurrency reports a code that is not an ISO 4217 currency.
var ErrCurrency = errors.New("not an ISO 4217 currency code")

// ParseCurrency checks code against ISO 4217. It returns ErrCurrency for anything else, lower case
// included.
func ParseCurrency(code string) (Currency, error) {
	if code == "" || !currency.IsValid(code) { // IsValid takes "no currency" for valid
		return "", ErrCurrency
	}
	return Currency(code), nil
}

// digits is how many decimals the currency has: 2 for USD, 0 for JPY, 3 for KWD.
func (c Currency) digits() int {
	d, _ := currency.GetDigits(string(c))
	return int(d)
}

// MaxMinor bounds an amount, in minor units: 999,999.99 of a two-digit currency, the largest charge
// that Stripe takes. It leaves room in an int64 for any sum that an order can make.
const MaxMinor = 99_999_999

// Amount is an amount of money. The zero Amount is no money in no currency.
type Amount struct {
	Minor    int64 // minor units: cents for USD
	Currency Currency
}

// Of makes an Amount of minor units.
func Of(minor int64, c Currency) Amount { return Amount{Minor: minor, Currency: c} }

// Times gives n times a.
func (a Amount) Times(n int) Amount { return Amount{a.Minor * int64(n), a.Currency} }

// Plus gives a + b. Adding two currencies is a bug in the caller and panics.
func (a Amount) Plus(b Amount) Amount {
	if a.Currency != b.Currency {
		panic(fmt.Sprintf("money: adding %s to %s", b.Currency, a.Currency))
	}
	return Amount{a.Minor + b.Minor, a.Currency}
}

// Decimal writes the amount as the contract does: with all digits of its currency.
func (a Amount) Decimal() Decimal {
	sign, minor := "", a.Minor
	if minor < 0 {
		sign, minor = "-", -minor
	}
	s := strconv.FormatInt(minor, 10)
	d := a.Currency.digits()
	if d == 0 {
		return Decimal(sign + s)
	}
	if len(s) <= d {
		s = strings.Repeat("0", d-len(s)+1) + s
	}
	return Decimal(sign + s[:len(s)-d] + "." + s[len(s)-d:])
}

// String gives the amount for people: "150.00 USD".
func (a Amount) String() string { return fmt.Sprintf("%s %s", a.Decimal(), a.Currency) }

var decimalType = reflect.TypeFor[Decimal]()

// Decimal is a decimal JSON number as it stood on the wire, not yet in a currency.
type Decimal string

// What can be wrong with a Decimal.
var (
	ErrNotDecimal = errors.New("must be a plain decimal number")
	ErrPrecision  = errors.New("has more decimals than its currency")
	ErrRange      = errors.New("is out of range")
)

// In reads d as an amount of c: exactly, or not at all. It returns ErrPrecision for more digits than
// c has, and ErrRange for a negative amount or one above MaxMinor.
func (d Decimal) In(c Currency) (Amount, error) {
	if d == "" { // the field was left out
		return Amount{}, ErrNotDecimal
	}
	whole, fraction, _ := strings.Cut(string(d), ".")
	if strings.HasPrefix(whole, "-") {
		return Amount{}, ErrRange
	}
	digits := c.digits()
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > digits {
		return Amount{}, ErrPrecision
	}
	minor, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", digits-len(fraction)), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && minor > MaxMinor:
		return Amount{}, ErrRange
	case err != nil:
		return Amount{}, ErrNotDecimal
	}
	return Of(minor, c), nil
}

// MarshalJSON writes the number as it is. The empty Decimal is a bug in the caller.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if d == "" {
		return nil, ErrNotDecimal
	}
	return []byte(d), nil
}

// UnmarshalJSON takes a JSON number without an exponent; a string that looks like one is refused.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if bytes.ContainsAny(b, `"eE[{tf`) {
		return &json.UnmarshalTypeError{Value: "value that is not a plain decimal number", Type: decimalType}
	}
	*d = Decimal(b)
	return nil
}
