// Package money represents amounts as integer minor units of an ISO 4217 currency. In JSON they are the contract's
// decimal numbers with the digits of the currency (150.00). It uses no floating-point numbers.
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

// ErrCurrency reports a code that is not an ISO 4217 currency code.
var ErrCurrency = errors.New("not an ISO 4217 currency code")

// ParseCurrency returns the currency with this ISO 4217 code. It returns ErrCurrency for any other string, including a
// code in lower case.
func ParseCurrency(code string) (Currency, error) {
	if code == "" || !currency.IsValid(code) { // IsValid accepts the empty string
		return "", ErrCurrency
	}
	return Currency(code), nil
}

// digits returns the number of decimals of the currency: 2 for USD, 0 for JPY, 3 for KWD.
func (c Currency) digits() int {
	d, _ := currency.GetDigits(string(c))
	return int(d)
}

// MaxMinor is the largest amount in minor units: twelve digits, as many as the largest charge in any currency has. The
// total of any order fits into an int64. The limits of each currency are those of [Amount.ChargeUnits].
const MaxMinor = 999_999_999_999

// Amount is an amount of money. The zero Amount has no currency.
type Amount struct {
	Minor    int64 // minor units: cents for USD
	Currency Currency
}

// Of returns an Amount of minor units.
func Of(minor int64, c Currency) Amount { return Amount{Minor: minor, Currency: c} }

// Times returns n times a.
func (a Amount) Times(n int) Amount { return Amount{a.Minor * int64(n), a.Currency} }

// Plus returns a + b. It panics if the currencies differ, which is a bug in the caller.
func (a Amount) Plus(b Amount) Amount {
	if a.Currency != b.Currency {
		panic(fmt.Sprintf("money: adding %s to %s", b.Currency, a.Currency))
	}
	return Amount{a.Minor + b.Minor, a.Currency}
}

// Decimal returns the amount as a decimal number with all digits of its currency.
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

// String returns the amount for people, such as "150.00 USD".
func (a Amount) String() string { return fmt.Sprintf("%s %s", a.Decimal(), a.Currency) }

var decimalType = reflect.TypeFor[Decimal]()

// Decimal is a decimal JSON number as it was received, without a currency.
type Decimal string

// The errors of an invalid Decimal.
var (
	ErrNotDecimal = errors.New("must be a plain decimal number")
	ErrPrecision  = errors.New("has more decimals than its currency")
	ErrRange      = errors.New("is out of range")
)

// In returns d as an amount of c, without rounding. It returns ErrPrecision if d has more digits than c, ErrRange if it
// is negative or above MaxMinor, and ErrNotDecimal if it is not a decimal number.
func (d Decimal) In(c Currency) (Amount, error) {
	if d == "" { // the field was missing
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

// MarshalJSON returns the number unchanged. It returns ErrNotDecimal for the empty Decimal, which is a bug in the
// caller.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if d == "" {
		return nil, ErrNotDecimal
	}
	return []byte(d), nil
}

// UnmarshalJSON accepts a JSON number without an exponent. It returns a *json.UnmarshalTypeError for any other value,
// including a number in a string. It ignores null.
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
