// Command audit compares the data of all services of the local stack with each other, prints a report, and exits with
// status 1 if it finds discrepancies.
//
//	make audit              while the system is in use: unfinished work is not a discrepancy
//	make audit ARGS=-quiet  on an idle system: all work must be finished
//
// It reads the same variables as `make up` (DATA_DIR, PORT_OFFSET and the others) to find the stack. To audit another
// system, set AUDIT_AUTH_SERVICE_DATABASE_URL and so on for each service, AUDIT_STRIPE_URL and AUDIT_AWS_ENDPOINT_URL.
// The value "none" for one of the last two skips charges or queues.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

func main() {
	quiet := flag.Bool("quiet", false, "the system is idle: report all unfinished work as discrepancies")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *quiet); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, quiet bool) error {
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	cfg, err := stack.FromEnv(root)
	if err != nil {
		return err
	}
	sources := audit.Sources{Databases: map[string]*pgxpool.Pool{}}
	if sources.Subscriptions, err = contracts.Subscriptions(); err != nil {
		return err
	}
	secrets := map[string]string{}
	content, err := os.ReadFile(filepath.Join(cfg.DataDir, "secrets.json"))
	if err == nil {
		err = json.Unmarshal(content, &secrets)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the secrets: %w", err)
	}
	for _, service := range audit.Services {
		variable := "AUDIT_" + strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_DATABASE_URL"
		url := cmp.Or(os.Getenv(variable), secrets[service+"-database-url"])
		if url == "" {
			return fmt.Errorf("%s: not set, and %s has no stack", variable, cfg.DataDir)
		}
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
		defer pool.Close()
		sources.Databases[service] = pool
	}
	if cfg.StripeAPIKey == "" {
		sources.Stripe = fmt.Sprintf("http://127.0.0.1:%d", cfg.StripeSimulatorPort)
	}
	sources.AWS = cmp.Or(cfg.AWSEndpoint, fmt.Sprintf("http://127.0.0.1:%d", cfg.AWSPort))
	for variable, address := range map[string]*string{
		"AUDIT_STRIPE_URL": &sources.Stripe, "AUDIT_AWS_ENDPOINT_URL": &sources.AWS,
	} {
		*address = cmp.Or(os.Getenv(variable), *address)
		if *address == "none" {
			*address = ""
		}
	}

	report, err := sources.Audit(ctx, quiet)
	if err != nil {
		return err
	}
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if n := len(report.Discrepancies()); n > 0 {
		return fmt.Errorf("%d discrepancies", n)
	}
	return nil
}
