// Command secrets writes the Kubernetes Secrets that deploy/kubernetes/overlays/local requires: a random value for
// each secret that deploy/local/config lets an app read, and the SQL that creates the databases.
//
//	go run ./deploy/kubernetes/secrets | kubectl create -f -
//
// Use kubectl create, not apply: a second run then fails instead of replacing the passwords that the databases use.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const namespace = "eventbooking"

// secret is a Kubernetes Secret.
type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	StringData map[string]string `json:"stringData"`
}

func newSecret(name string, data map[string]string) secret {
	return secret{"v1", "Secret", map[string]string{"name": name, "namespace": namespace}, data}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	files, err := filepath.Glob("deploy/local/config/*.yaml")
	if err != nil {
		return fmt.Errorf("find sidecar configurations: %w", err)
	}
	if len(files) == 0 {
		return errors.New("no files in deploy/local/config; run this in the root of the checkout")
	}
	allowed := map[string][]string{} // names of secrets by app-id
	for _, file := range files {
		app := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if allowed[app], err = allowedSecrets(file); err != nil {
			return err
		}
	}
	// Only the sidecar's state store uses it; the app is not allowed to read it.
	allowed["email-service"] = append(allowed["email-service"], "statestore-connection-string")

	values := map[string]string{}
	var sql strings.Builder
	items := []secret{
		newSecret("app-api-token", map[string]string{"token": random()}),
		newSecret("dapr-api-token", map[string]string{"token": random()}),
	}
	for _, app := range slices.Sorted(maps.Keys(allowed)) {
		own := map[string]string{}
		for _, name := range allowed[app] {
			if name == "email-service-smtp-password" { // the mail sink requires no password
				continue
			}
			if _, ok := values[name]; !ok {
				var statements string
				values[name], statements = generate(name)
				sql.WriteString(statements)
			}
			own[name] = values[name]
		}
		content, err := json.Marshal(own)
		if err != nil {
			return fmt.Errorf("encode the secrets of %s: %w", app, err)
		}
		items = append(items, newSecret(app+"-secrets", map[string]string{"secrets.json": string(content)}))
	}
	items = append(items,
		newSecret("postgres-databases", map[string]string{"superuser-password": random(), "databases.sql": sql.String()}),
		newSecret("stripe-simulator", map[string]string{
			"webhook-secret": values["payment-gateway-stripe-webhook-secret"],
		}))
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

// allowedSecrets returns the names of the secrets that a sidecar's configuration lets its app read.
func allowedSecrets(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read sidecar configuration: %w", err)
	}
	var configuration struct {
		Spec struct {
			Secrets struct {
				Scopes []struct {
					AllowedSecrets []string `yaml:"allowedSecrets"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &configuration); err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	var names []string
	for _, s := range configuration.Spec.Secrets.Scopes {
		names = append(names, s.AllowedSecrets...)
	}
	return names, nil
}

// generate returns a random value for a secret. For a database URL it also returns the SQL statements that create
// the role and the database.
func generate(name string) (value, statements string) {
	database, isDatabase := strings.CutSuffix(name, "-database-url")
	if name == "statestore-connection-string" {
		database, isDatabase = "dapr-state", true
	}
	switch {
	case isDatabase:
		database, password := strings.ReplaceAll(database, "-", "_"), random()
		return "postgres://" + database + ":" + password + "@postgres:5432/" + database + "?sslmode=disable",
			fmt.Sprintf("CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s';\n"+
				"CREATE DATABASE %[1]s OWNER %[1]s;\n"+
				"REVOKE CONNECT ON DATABASE %[1]s FROM PUBLIC;\n", database, password)
	case name == "auth-service-key-encryption-key" || name == "ticket-service-signing-seed":
		return base64.StdEncoding.EncodeToString(randomBytes()), ""
	case name == "payment-gateway-stripe-api-key":
		return "sk_test_simulator", ""
	}
	return random(), ""
}

func random() string { return hex.EncodeToString(randomBytes()) }

func randomBytes() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never returns an error
	return b
}
