package stack

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// databases has the names of the services' databases. The role that owns a database has the same name.
var databases = []string{
	"auth_service", "event_service", "ticket_service", "payment_service", "notification_service", "analytics_service",
}

// stateDatabase is the database of the Dapr state store.
const stateDatabase = "dapr_state"

// The keys in the secrets file, without those of databases.
const (
	secretServiceAuth   = "service-auth-secret"
	secretKeyEncryption = "auth-service-key-encryption-key"
	secretAdminPassword = "auth-service-admin-password"
	secretSigningSeed   = "ticket-service-signing-seed"
	secretStripeKey     = "payment-gateway-stripe-api-key"
	secretStripeWebhook = "payment-gateway-stripe-webhook-secret"
	secretSMTPPassword  = "email-service-smtp-password"
	secretStateStore    = "statestore-connection-string"
	// Only the stack uses these two. No app may read them.
	secretAppToken  = "app-api-token"
	secretSuperuser = "postgres-superuser-password"
)

// secrets is the content of secrets.json, the local secret store. Random values are generated once and kept.
type secrets map[string]string

func (c *Config) secretsPath() string { return filepath.Join(c.DataDir, "secrets.json") }

// databaseSecret returns the key of a database's URL.
func databaseSecret(database string) string {
	if database == stateDatabase {
		return secretStateStore
	}
	name := []byte(database)
	for i, b := range name {
		if b == '_' {
			name[i] = '-'
		}
	}
	return string(name) + "-database-url"
}

// loadSecrets reads the secrets of the data directory, generates missing ones, updates the addresses, and writes the
// file.
func (c *Config) loadSecrets() (secrets, error) {
	s := secrets{}
	content, err := os.ReadFile(c.secretsPath())
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the secrets: %w", err)
	default:
		if err := json.Unmarshal(content, &s); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", c.secretsPath(), err)
		}
	}
	for _, key := range []string{
		secretServiceAuth, secretAdminPassword, secretStripeWebhook, secretAppToken, secretSuperuser,
	} {
		if s[key] == "" {
			s[key] = hex.EncodeToString(randomBytes())
		}
	}
	for _, key := range []string{secretKeyEncryption, secretSigningSeed} {
		if s[key] == "" {
			s[key] = base64.StdEncoding.EncodeToString(randomBytes())
		}
	}
	server, err := url.Parse(c.superuserURL(s))
	if err != nil {
		return nil, fmt.Errorf("POSTGRES_URL: %w", err)
	}
	for _, database := range append(databases, stateDatabase) {
		key := databaseSecret(database)
		password := hex.EncodeToString(randomBytes())
		if old, err := url.Parse(s[key]); err == nil && old.User != nil {
			if kept, ok := old.User.Password(); ok {
				password = kept
			}
		}
		u := *server
		u.User, u.Path = url.UserPassword(database, password), "/"+database
		s[key] = u.String()
	}
	s[secretStripeKey] = c.StripeAPIKey
	if c.StripeAPIKey == "" {
		s[secretStripeKey] = "sk_test_simulator"
	}
	if c.StripeWebhookSecret != "" {
		s[secretStripeWebhook] = c.StripeWebhookSecret
	}
	delete(s, secretSMTPPassword)
	if c.SMTP.Password != "" {
		s[secretSMTPPassword] = c.SMTP.Password
	}
	stored, err := c.tunnelDatabases(s)
	if err != nil {
		return nil, err
	}
	content, err = json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the secrets: %w", err)
	}
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("write the secrets: %w", err)
	}
	if err := replaceFile(c.secretsPath(), append(content, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write the secrets: %w", err)
	}
	return s, nil
}

// tunnelDatabases returns the secrets with the addresses of the proxies to the services' databases, if there are any.
func (c *Config) tunnelDatabases(s secrets) (secrets, error) {
	if c.Tunnel == nil {
		return s, nil
	}
	tunneled := maps.Clone(s)
	for _, database := range databases {
		key := databaseSecret(database)
		u, err := url.Parse(s[key])
		if err != nil {
			return nil, fmt.Errorf("put a proxy before %s: %w", database, err)
		}
		port, err := c.Tunnel(strings.TrimSuffix(key, "-database-url")+"-to-database", u.Host)
		if err != nil {
			return nil, fmt.Errorf("put a proxy before %s: %w", database, err)
		}
		u.Host = loopback(port)
		tunneled[key] = u.String()
	}
	return tunneled, nil
}

// superuserURL returns the URL with which roles and databases are created.
func (c *Config) superuserURL(s secrets) string {
	if c.PostgresURL != "" {
		return c.PostgresURL
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", s[secretSuperuser]),
		Host: loopback(c.PostgresPort), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// replaceFile writes a file atomically: a reader sees either the old content or the new.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func randomBytes() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // documented to never return an error
	return b
}
