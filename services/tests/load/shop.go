package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// shop is a system with an event on sale and buyers.
type shop struct {
	*system
	name   string
	entry  string // URL that buyers call: a sidecar, or the proxy that replaces it
	mails  *mailbox
	buyers []demo.Person
	event  demo.Event
	floor  demo.TicketType
	// payments and notifications are the databases of payment-service and notification-service.
	payments, notifications *pgxpool.Pool
}

// openShop starts a system with a number of buyers and a number of tickets on sale. The caller must stop it, even after
// an error.
func (b *bench) openShop(ctx context.Context, name string, s setup, buyers, tickets int) (*shop, error) {
	mails, err := newMailbox()
	h := &shop{system: &system{}, name: name, mails: mails}
	if err != nil {
		return h, err
	}
	s.mails = mails
	h.system, err = b.start(ctx, s)
	h.closing = append(h.closing, mails.close)
	if err != nil {
		return h, err
	}
	h.entry = h.App("payment-service").SidecarURL()
	if h.proxy != 0 {
		h.entry = "http://127.0.0.1:" + strconv.Itoa(h.proxy)
	}
	if h.buyers, err = h.accounts(ctx, buyers); err != nil {
		return h, err
	}
	if h.payments, err = h.database(ctx, "payment-service"); err != nil {
		return h, err
	}
	if h.notifications, err = h.database(ctx, "notification-service"); err != nil {
		return h, err
	}
	h.event, h.floor, err = h.startSale(ctx, h.buyers[0], tickets)
	return h, err
}

// purchases generates orders of one ticket each, for the buyers that next returns.
func (h *shop) purchases(next func() demo.Person) vegeta.Targeter {
	return func(t *vegeta.Target) error {
		p := demo.Purchase{
			Event: h.event.EventID, TicketType: h.floor.TicketTypeID, Quantity: 1,
			Card: demo.GoodCard, Key: uuid.NewString(),
		}
		req := p.Request(next())
		body, err := json.Marshal(req.Body)
		if err != nil {
			return err
		}
		t.Method, t.URL, t.Body = req.Method, h.entry+"/v1.0/invoke/"+req.App+"/method"+req.Path, body
		t.Header = http.Header{
			"Content-Type": {"application/json"}, "Authorization": {"Bearer " + string(req.Token)},
			"Idempotency-Key": {p.Key},
		}
		return nil
	}
}

// randomBuyer returns any of the buyers.
func (h *shop) randomBuyer() demo.Person {
	return h.buyers[mathrand.IntN(len(h.buyers))] //nolint:gosec // not a secret
}

// buyersInOrder returns a function that returns each buyer once, in order.
func (h *shop) buyersInOrder() func() demo.Person {
	var next atomic.Int64
	return func() demo.Person { return h.buyers[next.Add(1)-1] }
}

// drainTime is how long the backlog of events and mails of a load may take.
const drainTime = 10 * time.Minute

// awaitMails waits until the confirmation of every paid order is sent.
func (h *shop) awaitMails(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	_, err := demo.Await(ctx, func() (int, error) {
		var paid, sent int
		err := errors.Join(
			h.payments.QueryRow(ctx,
				`SELECT count(*) FROM orders WHERE status = 'COMPLETED' OR step <> 'DONE'`).Scan(&paid),
			h.notifications.QueryRow(ctx,
				`SELECT count(*) FROM notifications WHERE kind = 'ORDER_CONFIRMATION' AND status = 'SENT'`).Scan(&sent))
		return paid - sent, err
	}, func(missing int) bool { return missing == 0 })
	if err != nil {
		return fmt.Errorf("mails for paid orders are missing: %w", err)
	}
	return nil
}

// cpuTimes returns the CPU time that each part of the system has used since it started.
func (h *shop) cpuTimes() map[string]time.Duration {
	cpu := map[string]time.Duration{
		"database":         usageOf(h.Server("postgres").PID(), true).cpu,
		"SNS/SQS emulator": usageOf(h.Server("fauxqs").PID(), true).cpu,
	}
	for _, app := range h.Apps() {
		cpu["services"] += usageOf(app.Process.PID(), false).cpu
		cpu["sidecars"] += usageOf(app.Sidecar.PID(), false).cpu
	}
	return cpu
}

// accounts creates n accounts with access tokens. Registering each would hash a password each, which is slow on
// purpose. So all accounts share the password hash of one, and their tokens are signed here, with a key that
// auth-service publishes like its own but never signs with.
func (s *system) accounts(ctx context.Context, n int) ([]demo.Person, error) {
	first, err := demo.Client{Sidecar: s.App("auth-service").SidecarURL()}.Join(ctx, "Ben", "Ito", false)
	if err != nil {
		return nil, err
	}
	db, err := s.database(ctx, "auth-service")
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	kid := uuid.NewString()
	if _, err := db.Exec(ctx, `
		INSERT INTO signing_keys (kid, public_key, private_key, not_before)
		VALUES ($1, $2, '', now() + interval '10 years')`,
		kid, []byte(public)); err != nil {
		return nil, fmt.Errorf("publish a key: %w", err)
	}
	rows, err := db.Query(ctx, `
		INSERT INTO users (email, password_hash, first_name, last_name, roles, email_verified)
		SELECT left(md5($1::uuid::text || i), 12) || '-' || i || '@example.com', password_hash, first_name, last_name,
			ARRAY['USER', 'ORGANIZER'], true
		FROM users, generate_series(1, $2::integer) AS i WHERE id = $1::uuid
		RETURNING id, email`, first.UserID, n)
	if err != nil {
		return nil, fmt.Errorf("insert users: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (demo.Person, error) {
		p := demo.Person{FirstName: first.FirstName, LastName: first.LastName}
		return p, row.Scan(&p.UserID, &p.Email)
	})
	if err != nil {
		return nil, fmt.Errorf("insert users: %w", err)
	}
	now := time.Now()
	for i := range all {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: all[i].UserID.String(),
				IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)),
			},
			Name:    all[i].FirstName + " " + all[i].LastName,
			Roles:   []identity.Role{identity.RoleUser, identity.RoleOrganizer},
			Session: uuid.New(),
		})
		token.Header["kid"] = kid
		signed, err := token.SignedString(private)
		if err != nil {
			return nil, fmt.Errorf("sign a token: %w", err)
		}
		all[i].Token = demo.Token(signed)
	}
	return all, nil
}

// startSale publishes an event of the organizer with one ticket type, and waits until payment-service knows the key of
// the tokens.
func (s *system) startSale(
	ctx context.Context, organizer demo.Person, capacity int,
) (demo.Event, demo.TicketType, error) {
	c := demo.Client{Sidecar: s.App("event-service").SidecarURL()}
	// A service that does not know the key of a token fetches the keys, but only every few seconds.
	event, err := demo.Await(ctx, func() (demo.Event, error) { return c.Draft(ctx, organizer, "Stadium Festival") },
		func(demo.Event) bool { return true })
	if err != nil {
		return event, demo.TicketType{}, err
	}
	floor, err := demo.Await(ctx, func() (demo.TicketType, error) {
		return c.AddTicketType(ctx, organizer, event.EventID, "Floor", "49.50", capacity)
	}, func(demo.TicketType) bool { return true })
	if err != nil {
		return event, floor, err
	}
	event, err = c.Publish(ctx, organizer, event.EventID)
	return event, floor, errors.Join(err, s.awaitKey(ctx, organizer))
}

// awaitKey calls payment-service until it knows the key of the buyers' tokens.
func (s *system) awaitKey(ctx context.Context, buyer demo.Person) error {
	c := demo.Client{Sidecar: s.App("payment-service").SidecarURL()}
	req := demo.Request{
		Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders", Token: buyer.Token,
	}
	_, err := demo.Await(ctx, func() (struct{}, error) { return struct{}{}, c.Do(ctx, req, nil) },
		func(struct{}) bool { return true })
	return err
}
