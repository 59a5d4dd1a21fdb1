package simulator

// limit is what Stripe charges in a currency, https://docs.stripe.com/currencies.
type limit struct {
	least    int64 // the smallest charge, in minor units
	decimals int   // of the currency at Stripe, which differ from ISO 4217's for some
	digits   int   // of the largest charge; 0 means 8
}

// most returns the largest charge, in minor units.
func (l limit) most() int64 {
	digits := l.digits
	if digits == 0 {
		digits = 8
	}
	most := int64(1)
	for range digits {
		most *= 10
	}
	return most - 1
}

// step returns the number that every amount is a multiple of. The last digit of three-decimal currencies must be 0.
func (l limit) step() int64 {
	if l.decimals == 3 {
		return 10
	}
	return 1
}

// limits has the supported currencies. Stripe documents the smallest charge of some currencies, and converts 0.50 USD
// to find that of the others. The converted ones here are rough.
var limits = map[string]limit{
	"aed": {least: 200, decimals: 2}, "aud": {least: 50, decimals: 2}, "bgn": {least: 100, decimals: 2},
	"brl": {least: 50, decimals: 2}, "cad": {least: 50, decimals: 2}, "chf": {least: 50, decimals: 2},
	"czk": {least: 1500, decimals: 2}, "dkk": {least: 250, decimals: 2}, "eur": {least: 50, decimals: 2},
	"gbp": {least: 30, decimals: 2}, "hkd": {least: 400, decimals: 2}, "huf": {least: 17500, decimals: 2},
	"inr": {least: 50, decimals: 2}, "jpy": {least: 50}, "mxn": {least: 1000, decimals: 2},
	"myr": {least: 200, decimals: 2}, "nok": {least: 300, decimals: 2}, "nzd": {least: 50, decimals: 2},
	"pln": {least: 200, decimals: 2}, "ron": {least: 200, decimals: 2}, "sek": {least: 300, decimals: 2},
	"sgd": {least: 50, decimals: 2}, "thb": {least: 1000, decimals: 2}, "usd": {least: 50, decimals: 2},

	"idr": {least: 800_000, decimals: 2, digits: 12}, "isk": {least: 7000, decimals: 2}, "clp": {least: 500},
	"krw": {least: 700}, "mga": {least: 2300}, "vnd": {least: 13_000}, "ugx": {least: 190_000, decimals: 2},
	"bhd": {least: 190, decimals: 3}, "jod": {least: 360, decimals: 3}, "kwd": {least: 160, decimals: 3},
	"omr": {least: 200, decimals: 3}, "tnd": {least: 1550, decimals: 3},
}
