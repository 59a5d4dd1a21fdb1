// Package conformancetest sends the requests of the contract's examples to a running system. Each request goes through
// the sidecar of the service that makes it in the contract, with that service's token.
package conformancetest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/contracts/conformance"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Run sends the request of every case of package conformance and checks the answer.
func Run(t *testing.T, system *stack.Stack) {
	t.Helper()
	actual := prepare(t, system)
	client := contracttest.Client(t, nil)
	cases, err := conformance.Cases()
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			c, err := c.With(actual)
			require.NoError(t, err)
			token, err := identity.SignServiceToken(system.ServiceSecret(), c.From)
			require.NoError(t, err)
			req, err := http.NewRequestWithContext(t.Context(), c.Method,
				system.App(c.From).SidecarURL()+"/v1.0/invoke/"+c.To+"/method"+c.Path, bytes.NewReader(c.Body))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Service-Token "+token)
			req.Header.Set("Content-Type", "application/json")
			res, err := client.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, c.Check(res.StatusCode, body, actual))
		})
	}
}

// prepare creates what the examples refer to. It returns the ids by the names that the cases use for them.
func prepare(t *testing.T, system *stack.Stack) map[string]string {
	t.Helper()
	ctx := t.Context()
	client := demo.Client{Sidecar: system.App("auth-service").SidecarURL(), HTTP: contracttest.Client(t, nil)}
	john, err := client.Join(ctx, "John", "Doe", true)
	require.NoError(t, err)
	jane, err := client.Join(ctx, "Jane", "Smith", false)
	require.NoError(t, err)

	festival := publish(t, client, john, "Summer Music Festival 2024")
	conference := publish(t, client, john, "Tech Conference 2024")
	seat, err := client.AddTicketType(ctx, john, festival, "Seat", "50.00", 52)
	require.NoError(t, err)
	standing, err := client.AddTicketType(ctx, john, festival, "Standing", "25.00", 20)
	require.NoError(t, err)
	scarce, err := client.AddTicketType(ctx, john, festival, "Backstage", "50.00", 1)
	require.NoError(t, err)

	order, err := client.Buy(ctx, john, demo.Purchase{
		Event: festival, TicketType: seat.TicketTypeID, Quantity: 2, Card: demo.GoodCard, Key: uuid.NewString(),
	})
	require.NoError(t, err)
	tickets, err := demo.Await(ctx, func() ([]demo.Ticket, error) { return client.Tickets(ctx, john) },
		func(got []demo.Ticket) bool { return len(got) == 2 })
	require.NoError(t, err)

	// No answer of the API has the reservation of an order.
	var reservation uuid.UUID
	queryRow(t, system, "payment-service", []any{&reservation},
		`SELECT reservation_id FROM orders WHERE id = $1`, order.OrderID)
	return map[string]string{
		"user": john.UserID.String(), "otherUser": jane.UserID.String(), "token": string(john.Token),
		"expiredToken": expiredToken(t, system, john.UserID),
		"event":        festival.String(), "otherEvent": conference.String(),
		"ticketType": seat.TicketTypeID.String(), "otherTicketType": standing.TicketTypeID.String(),
		"scarceTicketType": scarce.TicketTypeID.String(),
		"order":            order.OrderID.String(), "paidReservation": reservation.String(),
		"ticket":         tickets[0].TicketID.String(),
		"newReservation": uuid.NewString(), "refusedReservation": uuid.NewString(), "nothing": uuid.NewString(),
	}
}

// publish creates the event of the contract's examples, with all optional fields, publishes it and returns its id.
func publish(t *testing.T, client demo.Client, organizer demo.Person, name string) uuid.UUID {
	t.Helper()
	ctx := t.Context()
	var event demo.Event
	require.NoError(t, client.Do(ctx, demo.Request{
		Method: http.MethodPost, App: "event-service", Path: "/api/events", Token: organizer.Token,
		Body: map[string]string{
			"name": name, "description": "Annual outdoor music festival",
			"eventDate": time.Now().UTC().AddDate(1, 0, 0).Format(time.RFC3339),
			"venueName": "Central Park Amphitheater", "venueAddress": "123 Park Ave, New York, NY 10001", "category": "MUSIC",
			"imageUrl": "https://cdn.example.com/events/770e8400.jpg",
		},
	}, &event))
	_, err := client.Publish(ctx, organizer, event.EventID)
	require.NoError(t, err)
	return event.EventID
}

// expiredToken returns an access token that expired an hour ago. It is signed with auth-service's own key, so that the
// test does not have to wait until a token expires.
func expiredToken(t *testing.T, system *stack.Stack, user uuid.UUID) string {
	t.Helper()
	var kid string
	var sealed []byte
	queryRow(t, system, "auth-service", []any{&kid, &sealed}, `
		SELECT kid, private_key FROM signing_keys WHERE retired_at IS NULL ORDER BY not_before DESC LIMIT 1`)
	block, err := aes.NewCipher(keyEncryptionKey(t, system))
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	seed, err := aead.Open(nil, nil, sealed, []byte(kid))
	require.NoError(t, err)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.String(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(-time.Hour)),
		},
	})
	token.Header["kid"] = kid
	signed, err := token.SignedString(ed25519.NewKeyFromSeed(seed))
	require.NoError(t, err)
	return signed
}

// keyEncryptionKey returns the key that encrypts auth-service's signing keys. It reads the key from auth-service's
// sidecar, as auth-service does.
func keyEncryptionKey(t *testing.T, system *stack.Stack) []byte {
	t.Helper()
	const name = "auth-service-key-encryption-key"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		system.App("auth-service").SidecarURL()+"/v1.0/secrets/secretstore/"+name, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	var values map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&values))
	key, err := base64.StdEncoding.DecodeString(values[name])
	require.NoError(t, err)
	return key
}

// queryRow reads one row from a service's database.
func queryRow(t *testing.T, system *stack.Stack, app string, into []any, query string, args ...any) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, system.DatabaseURL(app))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	require.NoError(t, conn.QueryRow(ctx, query, args...).Scan(into...))
}
