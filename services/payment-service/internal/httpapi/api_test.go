package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

const (
	serviceSecret = "a secret that services share"
	appAPIToken   = "a token that sidecars show"
	orders        = "/api/payments/orders"
	capacity      = 10

	// deadline bounds what a test waits for.
	deadline = 20 * time.Second
)

type bundle struct {
	url      string
	pool     *pgxpool.Pool
	api      httpapi.API
	services *sagatest.Services
	key      ed25519.PrivateKey
	event    uuid.UUID
	typeID   uuid.UUID
	buyer    identity.User
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b := &bundle{
		pool:     postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		services: &sagatest.Services{},
		key:      private,
		event:    uuid.New(),
		buyer:    identity.User{ID: uuid.New(), Name: "Ann O'Hara", Roles: []identity.Role{identity.RoleUser}},
	}
	b.typeID = b.services.AddType(b.event, money.Of(5000, "USD"), capacity)
	db := store.New(b.pool)
	b.api = httpapi.API{
		Pool:  b.pool,
		Store: db,
		Saga:  saga.Saga{Store: db, Services: b.services, Charges: admission.NewPacer(0)},
		Queue: admission.NewOrderQueue(admission.Limits{Concurrency: 2, QueueSize: 100, MaxWait: time.Hour}),
		Guard: identity.Guard{
			Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
				return func(*jwt.Token) (any, error) { return public, nil }
			}},
			ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
		},
	}
	server := httptest.NewServer(b.router())
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// router returns the routes of the service, with the consumer's.
func (b *bundle) router() *mux.Router {
	router := b.api.Router()
	mountConsumer(router, b.api)
	return router
}

// mountConsumer mounts the consumer as main does.
func mountConsumer(router *mux.Router, api httpapi.API) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "payment-service", API: "/api/payments", Announce: true,
			Queues: messaging.Queues{Main: "payment-processing-queue"},
		},
		Pool: api.Pool, Handlers: api.Saga.Handlers(),
	}.Mount(router, api.Guard)
}

// as gives the headers of a person's request.
func (b *bundle) as(t *testing.T, user identity.User) http.Header {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.ID.String(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		},
		Name: user.Name, Roles: user.Roles,
	}).SignedString(b.key)
	require.NoError(t, err)
	return http.Header{"Authorization": {"Bearer " + token}}
}

// from gives the headers that a service's call arrives with.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

var sidecarHeader = http.Header{"Dapr-Api-Token": {appAPIToken}}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   string
}

// order is the order that the answer is about.
func (a answer) order(t *testing.T) map[string]any {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &fields), a.body)
	if inner, refused := fields["order"].(map[string]any); refused {
		return inner
	}
	return fields
}

func (a answer) id(t *testing.T) string {
	t.Helper()
	id, ok := a.order(t)["orderId"].(string)
	require.True(t, ok, a.body)
	require.Equal(t, orders+"/"+id, a.header.Get("Location"))
	return id
}

func (a answer) requireFailure(t *testing.T, status int, code, field string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	var f struct{ Error, Message, Field string }
	require.NoError(t, json.Unmarshal([]byte(a.body), &f), a.body)
	require.Equal(t, code, f.Error, a.body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field, a.body)
}

func (b *bundle) try(ctx context.Context, method, path, body string, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(content)}, err
}

func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) answer {
	t.Helper()
	a, err := b.try(t.Context(), method, path, body, header)
	require.NoError(t, err)
	return a
}

// request gives the body of an order for two tickets, with changes; a nil value leaves a field out.
func (b *bundle) request(change map[string]any) string {
	fields := map[string]any{
		"eventId": b.event, "paymentMethod": "CREDIT_CARD", "paymentToken": sagatest.GoodCard,
		"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": 2}},
	}
	maps.Copy(fields, change)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return string(body)
}

func (b *bundle) withKey(t *testing.T, key string) http.Header {
	t.Helper()
	header := b.as(t, b.buyer)
	header.Set("Idempotency-Key", key)
	return header
}

// buy places an order as the buyer.
func (b *bundle) buy(t *testing.T, key string, change map[string]any) answer {
	t.Helper()
	return b.send(t, http.MethodPost, orders, b.request(change), b.withKey(t, key))
}

func (b *bundle) requireMoney(t *testing.T, id string, charged ...money.Decimal) {
	t.Helper()
	got, refunded := b.services.Money(uuid.MustParse(id))
	require.Equal(t, charged, got)
	require.Empty(t, refunded)
}

// The order in every answer is the contract's OrderInfoDto.
func TestBuy(t *testing.T) {
	b := setup(t)
	bought := b.buy(t, "key", nil)
	require.Equal(t, http.StatusCreated, bought.status, bought.body)
	id := bought.id(t)
	o := bought.order(t)
	require.Regexp(t, `^ORD-\d{4}-\d{6}$`, o["orderNumber"])
	for _, at := range []string{"createdAt", "completedAt"} {
		text, ok := o[at].(string)
		require.True(t, ok, bought.body)
		when, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		require.Equal(t, time.UTC, when.Location())
		require.WithinDuration(t, time.Now(), when, time.Minute)
	}
	want := fmt.Sprintf(`{"orderId": "%s", "orderNumber": "%s", "userId": "%s", "eventId": "%s", "totalAmount": 100.00,
		"currency": "USD", "paymentStatus": "COMPLETED", "paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"createdAt": "%s", "completedAt": "%s"}`,
		id, o["orderNumber"], b.buyer.ID, b.event, b.typeID, o["createdAt"], o["completedAt"])
	require.JSONEq(t, want, bought.body)
	require.Contains(t, bought.body, `"totalAmount":100.00`, "with the currency's digits")
	b.requireMoney(t, id, "100.00")

	own := b.send(t, http.MethodGet, orders+"/"+id, "", b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, own.status)
	require.Equal(t, bought.body, own.body)
	internal := b.send(t, http.MethodGet, "/api/payments/internal/orders/"+id, "", from(t, "notification-service"))
	require.Equal(t, http.StatusOK, internal.status)
	require.Equal(t, bought.body, internal.body)

	t.Run("Again", func(t *testing.T) {
		again := b.buy(t, "key", nil)
		require.Equal(t, http.StatusCreated, again.status)
		require.Equal(t, bought.body, again.body)
		require.Equal(t, id, again.id(t))
		b.requireMoney(t, id, "100.00")
		require.Equal(t, capacity-2, b.services.Left(b.typeID))
	})
	t.Run("KeyReused", func(t *testing.T) {
		for _, change := range []map[string]any{
			{"paymentToken": sagatest.DeclinedCard},
			{"holderName": "Bob"},
			{"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": 3}}},
		} {
			b.buy(t, "key", change).requireFailure(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED", "")
		}
	})
	t.Run("OtherKey", func(t *testing.T) {
		other := b.buy(t, "other key", nil)
		require.Equal(t, http.StatusCreated, other.status)
		require.NotEqual(t, id, other.id(t))
	})
}

func TestHolderName(t *testing.T) {
	b := setup(t)
	for key, tt := range map[string]struct{ given, want any }{
		"TheBuyersOwn": {nil, "Ann O'Hara"},
		"Given":        {" Bob Óg ", "Bob Óg"},
	} {
		id := b.buy(t, key, map[string]any{"holderName": tt.given}).id(t)
		var name string
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT holder_name FROM orders WHERE id = $1`, id).Scan(&name))
		require.Equal(t, tt.want, name)
	}
}

func TestDeclined(t *testing.T) {
	b := setup(t)
	declined := b.buy(t, "key", map[string]any{"paymentToken": sagatest.DeclinedCard})
	require.Equal(t, http.StatusPaymentRequired, declined.status)
	id, o := declined.id(t), declined.order(t)
	require.JSONEq(t, fmt.Sprintf(`{"error": "PAYMENT_DECLINED", "message": "Your card has insufficient funds.",
		"declineReason": "INSUFFICIENT_FUNDS", "order": {"orderId": "%s", "orderNumber": "%s", "userId": "%s", "eventId": "%s",
		"totalAmount": 100.00, "currency": "USD", "paymentStatus": "FAILED", "paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"failureReason": "INSUFFICIENT_FUNDS", "failureMessage": "Your card has insufficient funds.", "createdAt": "%s"}}`,
		id, o["orderNumber"], b.buyer.ID, b.event, b.typeID, o["createdAt"]), declined.body)
	require.Equal(t, capacity, b.services.Left(b.typeID))

	again := b.buy(t, "key", map[string]any{"paymentToken": sagatest.DeclinedCard})
	require.Equal(t, http.StatusPaymentRequired, again.status)
	require.Equal(t, declined.body, again.body)
	b.requireMoney(t, id)

	t.Run("AnotherTry", func(t *testing.T) {
		require.Equal(t, http.StatusCreated, b.buy(t, "new key", nil).status)
	})
	t.Run("EvenIfTheTicketsCannotGoBackYet", func(t *testing.T) {
		b.services.Next(sagatest.Release, sagatest.CallLost)
		a := b.buy(t, "third key", map[string]any{"paymentToken": sagatest.DeclinedCard})
		a.requireFailure(t, http.StatusPaymentRequired, "PAYMENT_DECLINED", "")
	})
}

// A refusal keeps its own code, with the status that the contract gives it, and names the order.
func TestRefused(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "No"))
	}
	declined := func(code string) sagatest.Fault {
		return sagatest.Answered(map[string]any{"status": "DECLINED", "declineCode": code, "message": "No"})
	}
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		fault  sagatest.Fault
		status int
		code   string
		field  string
	}{
		{"InsufficientInventory", sagatest.Reserve, refused(problem.Conflict, "INSUFFICIENT_INVENTORY"), 409, "INSUFFICIENT_INVENTORY", ""},
		{"EventNotOnSale", sagatest.Reserve, refused(problem.Conflict, "EVENT_NOT_ON_SALE"), 409, "EVENT_NOT_ON_SALE", ""},
		{"EventNotFound", sagatest.Reserve, refused(problem.NotFound, "EVENT_NOT_FOUND"), 404, "EVENT_NOT_FOUND", ""},
		{"TypeNotFound", sagatest.Reserve, refused(problem.NotFound, "TICKET_TYPE_NOT_FOUND"), 404, "TICKET_TYPE_NOT_FOUND", ""},
		{"Invalid", sagatest.Reserve, refused(problem.Invalid, "VALIDATION_ERROR"), 400, "VALIDATION_ERROR", ""},
		{"UnknownPaymentMethod", sagatest.Charge, declined("UNKNOWN_PAYMENT_METHOD"), 400, "UNKNOWN_PAYMENT_METHOD", "paymentToken"},
		{"Expired", sagatest.Charge, declined("EXPIRED_CARD"), 402, "PAYMENT_DECLINED", ""},
		{"UnsupportedAmount", sagatest.Charge, declined("UNSUPPORTED_AMOUNT"), 402, "PAYMENT_DECLINED", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.services.Next(tt.call, tt.fault)
			a := b.buy(t, tt.name, nil)
			a.requireFailure(t, tt.status, tt.code, tt.field)
			require.Equal(t, "FAILED", a.order(t)["paymentStatus"])
			b.requireMoney(t, a.id(t))
			require.Equal(t, capacity, b.services.Left(b.typeID))
			again := b.buy(t, tt.name, nil)
			require.Equal(t, a.status, again.status)
			require.Equal(t, a.body, again.body)
		})
	}
	t.Run("MoreThanThereIs", func(t *testing.T) {
		a := b.buy(t, "more", map[string]any{"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": capacity + 1}}})
		a.requireFailure(t, http.StatusConflict, "INSUFFICIENT_INVENTORY", "")
		require.NotContains(t, a.body, "totalAmount", "nobody knows the price yet")
	})
}

// Nothing was charged: the buyer is told when to come back, and the same key goes on.
func TestUnavailable(t *testing.T) {
	b := setup(t)
	tooMany := problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Too many people want these tickets at this moment")
	for name, tt := range map[string]struct {
		fault  sagatest.Fault
		status int
		code   string
	}{
		"CallLost":   {sagatest.CallLost, 503, "SERVICE_UNAVAILABLE"},
		"AnswerLost": {sagatest.AnswerLost, 503, "SERVICE_UNAVAILABLE"},
		"NotOurs":    {sagatest.Refused(problem.New(problem.Unauthenticated, "SERVICE_TOKEN_INVALID", "Invalid service token")), 503, "SERVICE_UNAVAILABLE"},
		"Crowd":      {sagatest.Refused(sidecar.ErrUnavailable.Because(tooMany)), 429, "TOO_MANY_REQUESTS"},
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, tt.fault)
			a := b.buy(t, name, nil)
			a.requireFailure(t, tt.status, tt.code, "")
			require.Equal(t, "5", a.header.Get("Retry-After"))

			again := b.buy(t, name, nil)
			require.Equal(t, http.StatusCreated, again.status, again.body)
			require.Equal(t, a.header.Get("Location"), again.header.Get("Location"))
			b.requireMoney(t, again.id(t), "100.00")
		})
	}
}

// Nobody knows whether money moved: the buyer is told to look, and the same key goes on.
func TestAccepted(t *testing.T) {
	b := setup(t)
	for name, fault := range map[string]sagatest.Fault{
		"CallLost":   sagatest.CallLost,
		"AnswerLost": sagatest.AnswerLost,
		"Pending":    sagatest.Answered(map[string]any{"status": "PENDING"}),
		"NotOurs":    sagatest.Refused(problem.New(problem.Conflict, "KEY_REUSED", "This key was used before")),
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Charge, fault)
			a := b.buy(t, name, nil)
			require.Equal(t, http.StatusAccepted, a.status, a.body)
			require.Equal(t, "PENDING", a.order(t)["paymentStatus"])
			require.NotContains(t, a.body, "completedAt")

			again := b.buy(t, name, nil)
			require.Equal(t, http.StatusCreated, again.status, again.body)
			require.Equal(t, a.id(t), again.id(t))
			b.requireMoney(t, again.id(t), "100.00")
		})
	}
}

// holding is a call that arrives and goes on when it is let go.
func holding() (fault sagatest.Fault, arrived <-chan struct{}, letGo func()) {
	here, gone := make(chan struct{}), make(chan struct{})
	return func(ctx context.Context, deed func() (any, error)) (any, error) {
		close(here)
		select {
		case <-gone:
			return deed()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, here, sync.OnceFunc(func() { close(gone) })
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(deadline):
		require.Fail(t, "nothing happened in time")
	}
}

// A buyer who cannot wait sends the request again while the first one is under way.
func TestReplayWhileUnderWay(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Reserve, sagatest.Charge} {
		t.Run(string(call), func(t *testing.T) {
			fault, arrived, letGo := holding()
			defer letGo()
			b.services.Next(call, fault)
			header := b.withKey(t, string(call))
			var first answer
			var err error
			var request sync.WaitGroup
			request.Go(func() { first, err = b.try(t.Context(), http.MethodPost, orders, b.request(nil), header) })
			wait(t, arrived)

			second := b.buy(t, string(call), nil)
			require.Equal(t, http.StatusAccepted, second.status, second.body)
			require.Equal(t, "PENDING", second.order(t)["paymentStatus"])
			letGo()
			request.Wait()
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, first.status, first.body)
			require.Equal(t, first.id(t), second.id(t))
			b.requireMoney(t, first.id(t), "100.00")
		})
	}
}

// A buyer who hangs up has an order all the same.
func TestBuyerGoesAway(t *testing.T) {
	b := setup(t)
	fault, arrived, letGo := holding()
	defer letGo()
	b.services.Next(sagatest.Charge, fault)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	header := b.withKey(t, "key")
	var err error
	var request sync.WaitGroup
	request.Go(func() { _, err = b.try(ctx, http.MethodPost, orders, b.request(nil), header) })
	wait(t, arrived)
	hangUp()
	request.Wait()
	require.ErrorIs(t, err, context.Canceled)
	letGo()
	require.Eventually(t, func() bool {
		a := b.buy(t, "key", nil)
		if a.status != http.StatusCreated {
			return false
		}
		b.requireMoney(t, a.id(t), "100.00")
		return true
	}, deadline, 10*time.Millisecond)
}

// The same request 16 times at once buys once.
func TestReplayRace(t *testing.T) {
	b := setup(t)
	header := b.withKey(t, "key")
	answers, errs := make([]answer, 16), make([]error, 16)
	var requests sync.WaitGroup
	for i := range answers {
		requests.Go(func() {
			answers[i], errs[i] = b.try(t.Context(), http.MethodPost, orders, b.request(nil), header.Clone())
		})
	}
	requests.Wait()
	id := answers[0].id(t)
	for i, a := range answers {
		require.NoError(t, errs[i])
		require.Contains(t, []int{http.StatusCreated, http.StatusAccepted}, a.status, a.body)
		require.Equal(t, id, a.id(t))
	}
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
	b.requireMoney(t, id, "100.00")
	require.Equal(t, capacity-2, b.services.Left(b.typeID))
}

func TestBadInput(t *testing.T) {
	b := setup(t)
	item := func(change map[string]any) map[string]any {
		fields := map[string]any{"ticketTypeId": b.typeID, "quantity": 2}
		maps.Copy(fields, change)
		return map[string]any{"ticketRequests": []map[string]any{fields}}
	}
	var tooMany []map[string]any
	for range order.MaxItems + 1 {
		tooMany = append(tooMany, map[string]any{"ticketTypeId": uuid.New(), "quantity": 1})
	}
	twice := map[string]any{"ticketTypeId": b.typeID, "quantity": 1}
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"Empty", "", 400, "MALFORMED_JSON", ""},
		{"MalformedJSON", `{"eventId":`, 400, "MALFORMED_JSON", ""},
		{"TwoValues", b.request(nil) + `{}`, 400, "MALFORMED_JSON", ""},
		{"Array", `[]`, 400, "MALFORMED_JSON", ""},
		{"Null", `null`, 400, "VALIDATION_ERROR", "eventId"},
		{"BrokenUTF8", "{\"holderName\":\"\xff\"}", 400, "MALFORMED_JSON", ""},
		{"TooLarge", b.request(map[string]any{"holderName": strings.Repeat("a", web.MaxBody)}), 413, "BODY_TOO_LARGE", ""},
		{"UnknownField", b.request(map[string]any{"price": 1}), 400, "VALIDATION_ERROR", "price"},
		{"UnknownFieldOfAnItem", b.request(item(map[string]any{"unitPrice": 1})), 400, "VALIDATION_ERROR", "unitPrice"},
		{"UserOfSomebodyElse", b.request(map[string]any{"userId": uuid.New()}), 400, "VALIDATION_ERROR", "userId"},

		{"NoEvent", b.request(map[string]any{"eventId": nil}), 400, "VALIDATION_ERROR", "eventId"},
		{"NilEvent", b.request(map[string]any{"eventId": uuid.Nil}), 400, "VALIDATION_ERROR", "eventId"},
		{"EventNoUUID", b.request(map[string]any{"eventId": "1 OR 1=1"}), 400, "VALIDATION_ERROR", "eventId"},
		{"EventInBraces", b.request(map[string]any{"eventId": "{" + b.event.String() + "}"}), 400, "VALIDATION_ERROR", "eventId"},
		{"EventWrongType", b.request(map[string]any{"eventId": 7}), 400, "VALIDATION_ERROR", "eventId"},

		{"NoTickets", b.request(map[string]any{"ticketRequests": nil}), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"NoTicketsAtAll", b.request(map[string]any{"ticketRequests": []any{}}), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"TooManyItems", b.request(map[string]any{"ticketRequests": tooMany}), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"TicketsWrongType", b.request(map[string]any{"ticketRequests": "all"}), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"TypeTwice", b.request(map[string]any{"ticketRequests": []any{twice, twice}}), 400, "VALIDATION_ERROR", "ticketRequests.ticketTypeId"},
		{"TypeNoUUID", b.request(item(map[string]any{"ticketTypeId": "vip"})), 400, "VALIDATION_ERROR", "ticketRequests.ticketTypeId"},
		{"NilType", b.request(item(map[string]any{"ticketTypeId": uuid.Nil})), 400, "VALIDATION_ERROR", "ticketRequests.ticketTypeId"},
		{"QuantityZero", b.request(item(map[string]any{"quantity": 0})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityNegative", b.request(item(map[string]any{"quantity": -2})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityTooLarge", b.request(item(map[string]any{"quantity": order.MaxQuantity + 1})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityBeyondAnyInteger", b.request(item(map[string]any{"quantity": json.Number("1e30")})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityFraction", b.request(item(map[string]any{"quantity": 1.5})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityText", b.request(item(map[string]any{"quantity": "2"})), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},

		{"NoMethod", b.request(map[string]any{"paymentMethod": nil}), 400, "VALIDATION_ERROR", "paymentMethod"},
		{"UnknownMethod", b.request(map[string]any{"paymentMethod": "BITCOIN"}), 400, "VALIDATION_ERROR", "paymentMethod"},
		{"NoToken", b.request(map[string]any{"paymentToken": nil}), 400, "VALIDATION_ERROR", "paymentToken"},
		{"LongToken", b.request(map[string]any{"paymentToken": strings.Repeat("a", order.MaxToken+1)}), 400, "VALIDATION_ERROR", "paymentToken"},
		{"NULInToken", b.request(map[string]any{"paymentToken": "pm_\x00"}), 400, "VALIDATION_ERROR", "paymentToken"},
		{"CardNumber", b.request(map[string]any{"paymentToken": "4242 4242-42424242"}), 400, "UNKNOWN_PAYMENT_METHOD", "paymentToken"},
		{"LongName", b.request(map[string]any{"holderName": strings.Repeat("å", order.MaxHolderName+1)}), 400, "VALIDATION_ERROR", "holderName"},
		{"BlankName", b.request(map[string]any{"holderName": " \t "}), 400, "VALIDATION_ERROR", "holderName"},
		{"NULInName", b.request(map[string]any{"holderName": "Ann\x00"}), 400, "VALIDATION_ERROR", "holderName"},
		{"NameWrongType", b.request(map[string]any{"holderName": []string{"Ann"}}), 400, "VALIDATION_ERROR", "holderName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.send(t, http.MethodPost, orders, tt.body, b.withKey(t, tt.name)).requireFailure(t, tt.status, tt.code, tt.field)
		})
	}
	for name, key := range map[string]string{
		"NoKey": "", "LongKey": strings.Repeat("k", order.MaxToken+1), "KeyNotASCII": "ключ", "KeyNotUTF8": "\xff", "TabInKey": "a\tb",
	} {
		t.Run(name, func(t *testing.T) {
			b.buy(t, key, nil).requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "Idempotency-Key")
		})
	}
	for _, path := range []string{"/not-a-uuid", "/" + b.event.String()[:35], "/%00", "/" + strings.ReplaceAll(b.event.String(), "-", "")} {
		b.send(t, http.MethodGet, orders+path, "", b.as(t, b.buyer)).requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "orderId")
		b.send(t, http.MethodGet, orders+path+"/history", "", b.as(t, b.buyer)).requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "orderId")
		b.send(t, http.MethodGet, "/api/payments/internal/orders"+path, "", from(t, "notification-service")).
			requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", "orderId")
	}
	b.send(t, http.MethodDelete, orders, "", b.as(t, b.buyer)).requireFailure(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "")
	b.send(t, http.MethodGet, "/api/payments/refunds-for-all", "", b.as(t, b.buyer)).requireFailure(t, http.StatusNotFound, "NOT_FOUND", "")

	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&stored))
	require.Zero(t, stored)
}

// An order is its buyer's: to others it does not exist, but for admins.
func TestWhoseOrder(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	unknown := uuid.NewString()
	for _, suffix := range []string{"", "/history"} {
		mine := b.send(t, http.MethodGet, orders+"/"+id+suffix, "", b.as(t, b.buyer))
		require.Equal(t, http.StatusOK, mine.status)
		admins := b.send(t, http.MethodGet, orders+"/"+id+suffix, "", b.as(t, person(identity.RoleAdmin)))
		require.Equal(t, http.StatusOK, admins.status)
		require.Equal(t, mine.body, admins.body)

		for _, eve := range []identity.User{person(), person(identity.RoleUser), person(identity.RoleOrganizer)} {
			theirs := b.send(t, http.MethodGet, orders+"/"+id+suffix, "", b.as(t, eve))
			nobodys := b.send(t, http.MethodGet, orders+"/"+unknown+suffix, "", b.as(t, eve))
			theirs.requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
			require.Equal(t, nobodys.status, theirs.status)
			require.Equal(t, strings.ReplaceAll(nobodys.body, unknown, id), theirs.body, "nothing tells the two apart")
		}
	}
	t.Run("SameKey", func(t *testing.T) {
		header := b.as(t, person(identity.RoleUser))
		header.Set("Idempotency-Key", "key")
		a := b.send(t, http.MethodPost, orders, b.request(nil), header)
		require.Equal(t, http.StatusCreated, a.status)
		require.NotEqual(t, id, a.id(t))
	})
	t.Run("Internal", func(t *testing.T) {
		a := b.send(t, http.MethodGet, "/api/payments/internal/orders/"+unknown, "", from(t, "notification-service"))
		require.Equal(t, http.StatusNotFound, a.status)
		require.JSONEq(t, `{"error": "ORDER_NOT_FOUND", "message": "Order with ID `+unknown+` not found"}`, a.body)
	})
}

func TestHistory(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	a := b.send(t, http.MethodGet, orders+"/"+id+"/history", "", b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, a.status)
	var got struct {
		OrderID string
		Events  []struct {
			EventType, Status string
			Payload           map[string]any
			Timestamp         time.Time
			Text              string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	require.Equal(t, id, got.OrderID)
	var story, texts []string
	for i, e := range got.Events {
		story = append(story, e.EventType+" "+e.Status)
		texts = append(texts, e.Text)
		require.NotNil(t, e.Payload)
		require.Equal(t, time.UTC, e.Timestamp.Location())
		require.False(t, i > 0 && e.Timestamp.Before(got.Events[i-1].Timestamp))
	}
	require.Equal(t, []string{
		"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING", "PAYMENT_COMPLETED COMPLETED",
	}, story)
	require.Regexp(t, `^The tickets are held until \d\d:\d\d UTC for 100.00 USD\.$`, texts[1])
	texts[1] = ""
	require.Equal(t, []string{
		"The order was placed.", "", "The card processor was asked for the payment.", "The order was paid.",
	}, texts)
}

// deliver does what the sidecar does with a message.
func (b *bundle) deliver(t *testing.T, path string, id any, eventType, payload string) answer {
	t.Helper()
	return b.send(t, http.MethodPost, path, fmt.Sprintf(`{"specversion": "1.0", "id": "%s", "source": "ticket-service", "type": %q,
		"data": {"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z", "correlationId": "corr-123456", "payload": %s}}`,
		id, eventType, eventType, payload), sidecarHeader)
}

func TestTicketsGenerated(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	message := uuid.New()
	payload := fmt.Sprintf(`{"orderId": %q, "userId": %q, "eventId": %q, "tickets": [{"ticketId": %q, "ticketNumber": "TKT-2024-001234",
		"qrCode": "https://cdn.example.com/qr/dd0e8400.png"}]}`, id, b.buyer.ID, b.event, uuid.New())
	for range 2 {
		a := b.deliver(t, "/events/tickets-generated", message, "TICKETS_GENERATED", payload)
		require.Equal(t, http.StatusOK, a.status)
		require.JSONEq(t, `{"status": "SUCCESS"}`, a.body)
	}
	history := b.send(t, http.MethodGet, orders+"/"+id+"/history", "", b.as(t, b.buyer))
	require.Equal(t, 1, strings.Count(history.body, "TICKETS_GENERATED"))
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
}

// No tickets to be had: the money goes back with the next tick.
func TestRefund(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	a := b.deliver(t, "/events/ticket-generation-failed", uuid.New(), "TICKET_GENERATION_FAILED", fmt.Sprintf(
		`{"orderId": %q, "userId": %q, "eventId": %q, "reservationId": %q, "reason": "INSUFFICIENT_INVENTORY"}`,
		id, b.buyer.ID, b.event, uuid.New()))
	require.Equal(t, http.StatusOK, a.status)

	for _, resumed := range []int{1, 0} {
		a = b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader)
		require.Equal(t, http.StatusOK, a.status)
		require.JSONEq(t, fmt.Sprintf(`{"resumed": %d}`, resumed), a.body)
	}
	charged, refunded := b.services.Money(uuid.MustParse(id))
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.Equal(t, charged, refunded)
	o := b.send(t, http.MethodGet, orders+"/"+id, "", b.as(t, b.buyer)).order(t)
	require.Equal(t, "REFUNDED", o["paymentStatus"])
	require.Equal(t, "INSUFFICIENT_INVENTORY", o["failureReason"])
	again := b.buy(t, "key", nil)
	require.Equal(t, http.StatusCreated, again.status)
	require.Equal(t, "REFUNDED", again.order(t)["paymentStatus"])
}

func TestBadEvents(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/events/tickets-generated", "/events/ticket-generation-failed", "/events/unknown"} {
		for _, body := range []string{"", "{", "[]", "{}", `{"id": 7}`} {
			b.send(t, http.MethodPost, path, body, sidecarHeader).requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")
		}
	}
	b.deliver(t, "/events/tickets-generated", "not a uuid", "TICKETS_GENERATED", `{}`).
		requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")
	b.deliver(t, "/events/tickets-generated", uuid.New(), "TICKETS_GENERATED", `{"orderId": "x"}`).
		requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")

	message := uuid.New()
	for range 2 {
		require.Equal(t, http.StatusOK, b.deliver(t, "/events/unknown", message, "TICKET_FOLDED", `{}`).status)
	}
	var kept int
	require.NoError(t, b.pool.QueryRow(t.Context(),
		`SELECT count(*) FROM unknown_events WHERE event_id = $1 AND type = 'TICKET_FOLDED'`, message.String()).Scan(&kept))
	require.Equal(t, 1, kept)
}

// Nobody comes to a route who may not: each one there is, but for health and documents, asks who is calling.
func TestGuards(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	expired := b.as(t, b.buyer)
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{RegisteredClaims: jwt.RegisteredClaims{
		Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: b.buyer.ID.String(),
		ExpiresAt: jwt.NewNumericDate(time.Now().Add(-time.Minute)),
	}}).SignedString(b.key)
	require.NoError(t, err)
	expired.Set("Authorization", "Bearer "+token)
	_, foreign, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	forged := (&bundle{key: foreign}).as(t, b.buyer)
	without := func(name string) http.Header {
		header := from(t, "notification-service")
		header.Del(name)
		return header
	}
	otherName := from(t, "notification-service")
	otherName.Set("X-Service-Name", "auth-service")
	wrongAPIToken := from(t, "notification-service")
	wrongAPIToken.Set("Dapr-Api-Token", "guess")

	type attempt struct {
		name   string
		header http.Header
		status int
		code   string
	}
	persons := []attempt{
		{"Nobody", nil, 401, "TOKEN_MISSING"},
		{"NoBearer", http.Header{"Authorization": {"Basic YTpi"}}, 401, "TOKEN_MISSING"},
		{"Garbage", http.Header{"Authorization": {"Bearer x.y.z"}}, 401, "TOKEN_INVALID"},
		{"Forged", forged, 401, "TOKEN_INVALID"},
		{"Expired", expired, 401, "TOKEN_EXPIRED"},
		{"AService", from(t, "notification-service"), 401, "TOKEN_MISSING"},
	}
	services := []attempt{
		{"Nobody", nil, 401, "SIDECAR_ONLY"},
		{"APerson", b.as(t, b.buyer), 401, "SIDECAR_ONLY"},
		{"AroundTheSidecar", without("Dapr-Api-Token"), 401, "SIDECAR_ONLY"},
		{"WrongAPIToken", wrongAPIToken, 401, "SIDECAR_ONLY"},
		{"NoServiceToken", without("X-Service-Token"), 401, "SERVICE_TOKEN_INVALID"},
		{"OtherName", otherName, 401, "SERVICE_TOKEN_INVALID"},
		{"OtherService", from(t, "ticket-service"), 403, "SERVICE_FORBIDDEN"},
	}
	sidecars := services[:4]
	admins := append(slices.Clone(persons), attempt{"TheBuyer", b.as(t, b.buyer), 403, "FORBIDDEN"})
	attempts := map[string][]attempt{
		"POST /api/payments/orders":                   persons,
		"GET /api/payments/orders":                    persons,
		"GET /api/payments/orders/{orderId}":          persons,
		"GET /api/payments/orders/{orderId}/history":  persons,
		"GET /api/payments/orders/{orderId}/refunds":  persons,
		"POST /api/payments/orders/{orderId}/refunds": append(persons, attempt{"TheBuyer", b.as(t, b.buyer), 403, "FORBIDDEN"}),
		"POST /api/payments/webhooks/stripe":          {{"Unsigned", nil, 400, "INVALID_SIGNATURE"}},
		"GET /api/payments/internal/orders/{orderId}": services,
		"POST /events": sidecars,
		"POST /api/payments/orders/{orderId}/postponement-refund": persons,
		"POST /events/":                                                sidecars,
		"POST /bindings/dead-letters":                                  sidecars,
		"POST /bindings/monitor-dead-letters":                          sidecars,
		"GET /api/payments/admin/dead-letters":                         admins,
		"POST /api/payments/admin/dead-letters/redrive":                admins,
		"GET /api/payments/admin/dead-letters/{deadLetterId}":          admins,
		"POST /api/payments/admin/dead-letters/{deadLetterId}/redrive": admins,
		"POST /api/payments/admin/dead-letters/{deadLetterId}/discard": admins,
		"GET /api/payments/admin/sagas":                                admins,
		"POST /api/payments/admin/orders/{orderId}/retry":              admins,
		"POST /bindings/resume-sagas":                                  sidecars,
	}
	require.NoError(t, b.router().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		require.NoError(t, err)
		if strings.HasPrefix(template, "/actuator/health") || strings.HasPrefix(template, "/docs") {
			return nil
		}
		methods, err := route.GetMethods()
		require.NoError(t, err)
		for _, method := range methods {
			path := strings.ReplaceAll(template, "{orderId}", url.PathEscape(id))
			require.Contains(t, attempts, method+" "+template, "nobody has tried to get in here")
			for _, a := range attempts[method+" "+template] {
				t.Run(method+template+"/"+a.name, func(t *testing.T) {
					header := a.header.Clone()
					if header == nil {
						header = http.Header{}
					}
					header.Set("Idempotency-Key", "key of nobody")
					got := b.send(t, method, path, b.request(nil), header)
					got.requireFailure(t, a.status, a.code, "")
				})
			}
		}
		return nil
	}))
}

// The gateway's name of a card is in no answer, and in the database only while a charge can be made.
func TestPaymentTokenIsKeptToOurselves(t *testing.T) {
	b := setup(t)
	for _, card := range []string{sagatest.GoodCard, sagatest.DeclinedCard, sagatest.PendingCard} {
		a := b.buy(t, card, map[string]any{"paymentToken": card})
		id := a.id(t)
		history := b.send(t, http.MethodGet, orders+"/"+id+"/history", "", b.as(t, b.buyer))
		require.NotContains(t, a.body+history.body, card)
		var kept bool
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT payment_token IS NOT NULL FROM orders WHERE id = $1`, id).Scan(&kept))
		require.Equal(t, a.status == http.StatusAccepted, kept)
	}
}
