package simulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

// bundle is a simulator behind an HTTP server.
type bundle struct {
	t   *testing.T
	url string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return serve(t, t.TempDir())
}

func serve(t *testing.T, dir string) *bundle {
	t.Helper()
	b, _ := serveWith(t, dir)
	return b
}

func serveWith(t *testing.T, dir string) (*bundle, *simulator.Server) {
	t.Helper()
	sim, err := simulator.Open(dir, "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, sim.Close())
	})
	return &bundle{t: t, url: server.URL}, sim
}

// answer is a response with its body, decoded and raw.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (a answer) apiError() map[string]any {
	e, _ := a.body["error"].(map[string]any)
	return e
}

func (b *bundle) try(method, path, key string, form url.Values) (answer, error) {
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Authorization", "Bearer sk_test_local")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, raw: string(raw)}
	return a, json.Unmarshal(raw, &a.body)
}

func (b *bundle) do(method, path, key string, form url.Values) answer {
	b.t.Helper()
	a, err := b.try(method, path, key, form)
	require.NoError(b.t, err)
	return a
}

// faults sets the injected faults.
func (b *bundle) faults(body string) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.url+"/_faults", strings.NewReader(body))
	require.NoError(b.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	require.Equal(b.t, http.StatusOK, response.StatusCode)
}

func (b *bundle) charges() []any {
	b.t.Helper()
	charges, ok := b.do(http.MethodGet, "/_charges", "", nil).body["charges"].([]any)
	require.True(b.t, ok)
	return charges
}

// charge returns the form of a charge of 150.00 USD. More are the names and values of further fields.
func charge(method string, more ...string) url.Values {
	form := url.Values{
		"amount":                   {"15000"},
		"currency":                 {"usd"},
		"confirm":                  {"true"},
		"payment_method":           {method},
		"payment_method_types[0]":  {"card"},
		"error_on_requires_action": {"true"},
		"metadata[attempt_key]":    {"attempt-1"},
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func TestChargeHasTheOutcomeOfItsTestMethod(t *testing.T) {
	t.Parallel()
	const (
		intents        = "/v1/payment_intents"
		waitsForMethod = "requires_payment_method"
		authentication = "authentication_required"
	)
	for name, tt := range map[string]struct {
		method                          string
		more                            []string // form fields, as of charge
		status                          int
		code, declineCode, param, state string
	}{
		"Visa":       {method: "pm_card_visa", status: 200, state: "succeeded"},
		"Mastercard": {method: "pm_card_mastercard", status: 200, state: "succeeded"},
		"GenericDecline": {
			method: "pm_card_visa_chargeDeclined",
			status: 402, code: "card_declined", declineCode: "generic_decline", state: waitsForMethod,
		},
		"InsufficientFunds": {
			method: "pm_card_chargeDeclinedInsufficientFunds",
			status: 402, code: "card_declined", declineCode: "insufficient_funds", state: waitsForMethod,
		},
		"ExpiredCard": {
			method: "pm_card_chargeDeclinedExpiredCard",
			status: 402, code: "expired_card", state: waitsForMethod,
		},
		"ProcessingError": {
			method: "pm_card_chargeDeclinedProcessingError",
			status: 402, code: "processing_error", state: waitsForMethod,
		},
		"AuthenticationDeclined": {
			method: "pm_card_authenticationRequired",
			status: 402, code: authentication, declineCode: authentication, state: waitsForMethod,
		},
		"AuthenticationAwaited": {
			method: "pm_card_authenticationRequired", more: []string{"error_on_requires_action", "false"},
			status: 200, state: "requires_action",
		},
		"UnknownMethod": {method: "pm_card_unknown", status: 400, code: "resource_missing", param: "payment_method"},
		"TooSmall": {
			method: "pm_card_visa", more: []string{"amount", "49"},
			status: 400, code: "amount_too_small", param: "amount",
		},
		"TooLarge": {
			method: "pm_card_visa", more: []string{"amount", "100000000"},
			status: 400, code: "amount_too_large", param: "amount",
		},
		"AmountWithFraction": {
			method: "pm_card_visa", more: []string{"amount", "1.50"},
			status: 400, code: "parameter_invalid_integer", param: "amount",
		},
		"YenHasNoCents": {
			method: "pm_card_visa", more: []string{"amount", "50", "currency", "JPY"},
			status: 200, state: "succeeded",
		},
		"UnknownCurrency": {
			method: "pm_card_visa", more: []string{"currency", "xxx"},
			status: 400, param: "currency",
		},
		"UnknownParameter": {
			method: "pm_card_visa", more: []string{"customer", "cus_1"},
			status: 400, code: "parameter_unknown", param: "customer",
		},
		"LongMetadata": {
			method: "pm_card_visa", more: []string{"metadata[note]", strings.Repeat("x", 501)},
			status: 400, param: "metadata[note]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)

			got := b.do(http.MethodPost, intents, "", charge(tt.method, tt.more...))

			require.Equal(t, tt.status, got.status, got.raw)
			pi := got.body
			if tt.status != http.StatusOK {
				e := got.apiError()
				require.Equal(t, tt.code, text(e["code"]))
				require.Equal(t, tt.declineCode, text(e["decline_code"]))
				require.Equal(t, tt.param, text(e["param"]))
				pi, _ = e["payment_intent"].(map[string]any)
			}
			if tt.state == "" {
				require.Empty(t, b.charges(), "a request that fails validation creates nothing")
				return
			}
			require.Equal(t, tt.state, pi["status"])
			kept := b.do(http.MethodGet, intents+"/"+text(pi["id"]), "", nil)
			require.Equal(t, pi, kept.body, "the answer contains the object as it is stored")
			if tt.status == http.StatusPaymentRequired {
				require.Equal(t, "card_error", got.apiError()["type"])
				last, _ := pi["last_payment_error"].(map[string]any)
				require.Equal(t, tt.code, last["code"])
				require.EqualValues(t, 0, pi["amount_received"])
			}
		})
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func TestConfirmAndCancelDependOnTheStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	form := charge("pm_card_chargeDeclined")
	form.Del("confirm")
	form.Del("error_on_requires_action")

	created := b.do(http.MethodPost, "/v1/payment_intents", "", form)
	require.Equal(t, "requires_confirmation", created.body["status"])
	path := "/v1/payment_intents/" + text(created.body["id"])

	require.Equal(t, http.StatusPaymentRequired, b.do(http.MethodPost, path+"/confirm", "", nil).status)
	missing := b.do(http.MethodPost, path+"/confirm", "", nil)
	require.Equal(t, "payment_intent_unexpected_state", missing.apiError()["code"], "a decline removes the payment method")

	again := b.do(http.MethodPost, path+"/confirm", "", url.Values{"payment_method": {"pm_card_visa"}})
	require.Equal(t, "succeeded", again.body["status"])
	require.EqualValues(t, 15000, again.body["amount_received"])

	require.Equal(t, "payment_intent_unexpected_state", b.do(http.MethodPost, path+"/cancel", "", nil).apiError()["code"])
	require.Equal(t, "payment_intent_unexpected_state", b.do(http.MethodPost, path+"/confirm", "", nil).apiError()["code"])

	other := b.do(http.MethodPost, "/v1/payment_intents", "", form)
	canceled := b.do(http.MethodPost, "/v1/payment_intents/"+text(other.body["id"])+"/cancel", "",
		url.Values{"cancellation_reason": {"abandoned"}})
	require.Equal(t, "canceled", canceled.body["status"])
	require.Equal(t, http.StatusNotFound, b.do(http.MethodPost, "/v1/payment_intents/pi_none/cancel", "", nil).status)
}

func TestRefundsDoNotExceedTheCharge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pi := text(b.do(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_visa")).body["id"])
	refund := func(amount string) answer {
		form := url.Values{"payment_intent": {pi}, "reason": {"requested_by_customer"}}
		if amount != "" {
			form.Set("amount", amount)
		}
		return b.do(http.MethodPost, "/v1/refunds", "", form)
	}

	first := refund("5000")
	require.Equal(t, "succeeded", first.body["status"])
	require.Equal(t, "amount", refund("10001").apiError()["param"])
	rest := refund("")
	require.EqualValues(t, 10000, rest.body["amount"])
	require.Equal(t, "charge_already_refunded", refund("1").apiError()["code"])

	list := b.do(http.MethodGet, "/v1/refunds?limit=1&payment_intent="+pi, "", nil)
	require.Equal(t, true, list.body["has_more"])
	next := b.do(http.MethodGet, "/v1/refunds?payment_intent="+pi+"&starting_after="+text(rest.body["id"]), "", nil)
	require.Equal(t, []any{first.body}, next.body["data"])
	require.Equal(t, first.body, b.do(http.MethodGet, "/v1/refunds/"+text(first.body["id"]), "", nil).body)

	unknown := b.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {"pi_none"}})
	require.Equal(t, "resource_missing", unknown.apiError()["code"])
	declined := b.do(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_chargeDeclined"))
	uncharged, _ := declined.apiError()["payment_intent"].(map[string]any)
	refused := b.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {text(uncharged["id"])}})
	require.Equal(t, http.StatusBadRequest, refused.status)

	charges := b.charges()
	require.Len(t, charges, 2)
	require.EqualValues(t, 15000, charges[0].(map[string]any)["amountRefunded"])
}

func TestListAndSearchPageAndFilter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for i := range 3 {
		form := charge("pm_card_visa", "metadata[attempt_key]", fmt.Sprintf("it's-%d", i%2))
		created := b.do(http.MethodPost, "/v1/payment_intents", "", form)
		ids = append(ids, text(created.body["id"]))
	}
	page := b.do(http.MethodGet, "/v1/payment_intents?limit=2", "", nil)
	require.Equal(t, []string{ids[2], ids[1]}, idsOf(page))
	require.Equal(t, true, page.body["has_more"])
	listed := func(query string) []string {
		return idsOf(b.do(http.MethodGet, "/v1/payment_intents?"+query, "", nil))
	}
	require.Equal(t, []string{ids[0]}, listed("starting_after="+ids[1]))
	require.Equal(t, []string{ids[2], ids[1]}, listed("ending_before="+ids[0]))
	require.Empty(t, listed("created[lt]=1"))

	search := func(query, more string) answer {
		return b.do(http.MethodGet, "/v1/payment_intents/search?query="+url.QueryEscape(query)+more, "", nil)
	}
	require.Equal(t, []string{ids[2], ids[0]}, idsOf(search(`metadata['attempt_key']:'it\'s-0'`, "")))
	require.Equal(t, []string{ids[1]}, idsOf(search(`metadata["attempt_key"]:"it's-1" AND status:'succeeded'`, "")))
	require.Empty(t, idsOf(search(`metadata['attempt_key']:'it\'s-1' AND status:'canceled'`, "")))
	first := search(`status:'succeeded'`, "&limit=2")
	require.Equal(t, []string{ids[0]}, idsOf(search(`status:'succeeded'`, "&limit=2&page="+text(first.body["next_page"]))))
	require.Equal(t, http.StatusBadRequest, search(`amount>100`, "").status)
	require.Equal(t, http.StatusBadRequest, search(``, "").status)

	b.faults(`{"searchLagMs":60000}`)
	require.Empty(t, idsOf(search(`status:'succeeded'`, "")))
}

func idsOf(a answer) []string {
	data, _ := a.body["data"].([]any)
	ids := []string{}
	for _, item := range data {
		object, _ := item.(map[string]any)
		ids = append(ids, text(object["id"]))
	}
	return ids
}

func TestIdempotencyKeyReplaysItsAnswer(t *testing.T) {
	t.Parallel()

	t.Run("ReplaysSuccessAndDecline", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, method := range []string{"pm_card_visa", "pm_card_chargeDeclined"} {
			first := b.do(http.MethodPost, "/v1/payment_intents", method, charge(method))
			again := b.do(http.MethodPost, "/v1/payment_intents", method, charge(method))
			require.Equal(t, first.status, again.status)
			require.JSONEq(t, first.raw, again.raw)
			require.Empty(t, first.header.Get("Idempotent-Replayed"))
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			require.Equal(t, first.header.Get("Request-Id"), again.header.Get("Original-Request"))
		}
		require.Len(t, b.charges(), 2)
	})

	t.Run("OtherParametersRefused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		other := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa", "amount", "15001"))
		require.Equal(t, http.StatusBadRequest, other.status)
		require.Equal(t, "idempotency_error", other.apiError()["type"])
	})

	t.Run("FailedValidationIsNotSaved", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		invalid := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_unknown"))
		require.Equal(t, http.StatusBadRequest, invalid.status)
		valid := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		require.Equal(t, http.StatusOK, valid.status)
	})

	t.Run("KeyInUse", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(`{"delayMs":2000}`)
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = b.try(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa")) })
		require.Eventually(t, func() bool {
			return b.do(http.MethodGet, "/_counters", "", nil).body["inFlight"] == 1.0
		}, 10*time.Second, time.Millisecond)
		b.faults(`{}`)
		refused := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		require.Equal(t, http.StatusConflict, refused.status)
		require.Equal(t, "idempotency_key_in_use", refused.apiError()["code"])
		slow.Wait()
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa")).status)
		require.Len(t, b.charges(), 1)
	})

	t.Run("ConcurrentRequestsChargeOnce", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var workers sync.WaitGroup
		statuses := make([]int, 20)
		for i := range statuses {
			workers.Go(func() {
				got, err := b.try(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
				if err == nil {
					statuses[i] = got.status
				}
			})
		}
		workers.Wait()
		require.Subset(t, []int{http.StatusOK, http.StatusConflict}, statuses)
		require.Contains(t, statuses, http.StatusOK)
		require.Len(t, b.charges(), 1)
	})
}

func TestFaultsFailLoseAndDelayAnswers(t *testing.T) {
	t.Parallel()

	t.Run("FailHasNoEffect", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(`{"fail":1,"status":500,"method":"POST","pathPrefix":"/v1/payment_intents"}`)
		require.Equal(t, http.StatusOK, b.do(http.MethodGet, "/v1/payment_intents", "", nil).status)
		failed := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		require.Equal(t, http.StatusInternalServerError, failed.status)
		require.Empty(t, b.charges())
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa")).status)
	})

	t.Run("FailAfterIsSaved", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(`{"failAfter":1}`)
		for range 2 {
			got := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
			require.Equal(t, http.StatusInternalServerError, got.status)
		}
		require.Equal(t, "succeeded", b.charges()[0].(map[string]any)["status"])
	})

	t.Run("LoseAnswer", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.do(http.MethodGet, "/v1/payment_intents", "", nil) // so that the next request reuses the connection
		b.faults(`{"loseAnswer":1}`)
		_, err := b.try(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		require.Error(t, err)
		require.Len(t, b.charges(), 1)
		again := b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa"))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.EqualValues(t, 1, b.do(http.MethodGet, "/_counters", "", nil).body["lost"])
	})

	t.Run("DelayAnswer", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(`{"delayAnswerMs":80}`)
		begin := time.Now()
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/payment_intents", "k", charge("pm_card_visa")).status)
		require.GreaterOrEqual(t, time.Since(begin), 80*time.Millisecond)
	})

	t.Run("BadInput", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, body := range []string{`{`, `{"loseAnswers":1}`, `{"status":200}`, `{"delayMs":-1}`} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+"/_faults", strings.NewReader(body))
			require.NoError(t, err)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusBadRequest, response.StatusCode, body)
		}
	})
}

func TestAuthenticationRequiresASecretTestKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for header, status := range map[string]int{
		"": 401, "Bearer ": 401, "Bearer sk_live_x": 401, "Bearer sk_test_x": 200, "Basic c2tfdGVzdF94Og==": 200,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/v1/payment_intents", nil)
		require.NoError(t, err)
		if header != "" {
			request.Header.Set("Authorization", header)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, status, response.StatusCode, header)
	}
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/v1/customers", "", nil).status)
}

func TestJournalSurvivesRestartAndTornLine(t *testing.T) {
	t.Parallel()

	// write writes a journal of two charges, closes it, and returns its content.
	write := func(t *testing.T) (dir string, content []byte) {
		t.Helper()
		dir = t.TempDir()
		t.Run("write", func(t *testing.T) {
			b := serve(t, dir)
			b.do(http.MethodPost, "/v1/payment_intents", "one", charge("pm_card_visa"))
			b.do(http.MethodPost, "/v1/payment_intents", "two", charge("pm_card_visa"))
		})
		content, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
		require.NoError(t, err)
		return dir, content
	}

	t.Run("SurvivesRestart", func(t *testing.T) {
		t.Parallel()
		dir, _ := write(t)
		b := serve(t, dir)
		require.Len(t, b.charges(), 2)
		again := b.do(http.MethodPost, "/v1/payment_intents", "one", charge("pm_card_visa"))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	})

	t.Run("TornLastLineIsTruncated", func(t *testing.T) {
		t.Parallel()
		dir, content := write(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), content[:len(content)-20], 0o600))
		b := serve(t, dir)
		require.Len(t, b.charges(), 1)
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/payment_intents", "two", charge("pm_card_visa")).status)
		require.Len(t, b.charges(), 2)
	})

	t.Run("DamageBeforeLastLineIsRefused", func(t *testing.T) {
		t.Parallel()
		dir, content := write(t)
		content[1] = '#'
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), content, 0o600))
		_, err := simulator.Open(dir, "", slog.New(slog.DiscardHandler))
		require.Error(t, err)
	})

	t.Run("SecondProcessIsRefused", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		serve(t, dir)
		_, err := simulator.Open(dir, "", slog.New(slog.DiscardHandler))
		require.Error(t, err)
	})
}
