# `make demo` shows the system at work. `make test` runs all checks and tests. `make help` lists every target.
STACK := go run ./deploy/local/cmd/stack

# The variables that make help prints, one on each line. The values in parentheses are the defaults.
#
#: DATA_DIR=<dir>                     directory of data, secrets and logs (.local)
#: PORT_OFFSET=<n>                    number that is added to every port (0)
#: POSTGRES_PORT=<port>               port of PostgreSQL (15432)
#: SNSSQS_PORT=<port>                 port of the SNS/SQS emulator (4566)
#: SMTP_PORT=<port>                   SMTP port of the mail sink (1025)
#: MAIL_WEB_PORT=<port>               port of the mail sink's web page (1080)
#: STRIPE_SIMULATOR_PORT=<port>       port of the Stripe simulator (12111)
#: POSTGRES_URL=<url>                 your own PostgreSQL, as a superuser
#: AWS_ENDPOINT_URL=<url>             your own SNS/SQS, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
#: SMTP_HOST=<host>                   your own mail server, with SMTP_PORT and if needed SMTP_USERNAME, SMTP_PASSWORD,
#:                                    SMTP_FROM and SMTP_TLS (none, starttls or tls)
#: STRIPE_API_KEY=<key>               the real Stripe, with STRIPE_WEBHOOK_SECRET for its webhooks
#: OTEL_EXPORTER_OTLP_ENDPOINT=<url>  where traces are sent (nowhere)
#: PUBLIC_URL=<url>                   start of the links in e-mails and QR codes (http://127.0.0.1:8082)
#: NO_COLOR=1                         print the demo without colors

# go test succeeds when -run matches no test. This command fails then: $(call require-test,name,package with flags)
require-test = go test -list '^$(1)$$' $(2) | grep -qx $(1) || { echo "there is no test $(1) in $(2)" >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help demo up down logs status infra test audit faults crash bench images kubernetes test-kubernetes clean

help: ## list all targets and variables
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Variables of the stack, for demo, up, infra and the targets that act on a running stack:"
	@awk '/^#: / { print "  " substr($$0, 4) }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "deploy/local/README.md has the variables of the services, and more about these."

demo: go ## start everything, then show a purchase through the sidecars, step by step
	@$(STACK) demo

up: go ## start everything; if it is running, repair it or apply changes
	@$(STACK) up

down: go ## stop everything and keep the data
	@$(STACK) down

logs: go ## print the logs of all processes until Ctrl-C
	@$(STACK) logs

status: go ## print which processes are running and whether all are healthy
	@$(STACK) status

infra: go ## start only the servers; then run: . .local/env && .local/bin/dapr run -f .
	@$(STACK) servers

test: go ## check the code, run every test and fuzz target, and stop everything that was started
	@$(STACK) test

audit: go ## compare the records of all services; ARGS=-quiet when the system is idle
	@go run ./services/tests/audit/cmd/audit $(ARGS)

faults: go ## kill, freeze and disturb the processes of a system under load, then audit it; SEED=1-10 ROUNDS=2
	@$(call require-test,TestRecordsBalanceUnderFaults,./services/tests/faults)
	@FAULTS_SEED=$(or $(SEED),68) FAULTS_ROUNDS=$(or $(ROUNDS),1) \
		go test -count=1 -v -timeout 0 -run '^TestRecordsBalanceUnderFaults$$' ./services/tests/faults

crash: go ## kill processes at each named point of the saga and the consumers, then audit the system
	@$(call require-test,TestEveryCrashPoint,-tags crash ./services/tests/faults)
	@go test -tags crash -count=1 -v -timeout 0 -run '^TestEveryCrashPoint$$' ./services/tests/faults

bench: go ## measure performance; BENCH=1,5 selects measurements, QUICK=1 only checks that they work
	@go run ./services/tests/load -run "$(BENCH)" $(if $(QUICK),-quick) $(ARGS)

images: go ## build container images of all programs, as OCI archives in .local/images
	@$(STACK) images

kubernetes: go ## render deploy/kubernetes and validate it against the schemas of Kubernetes and Dapr
	@go run -C tools/kubernetes . check overlays/local overlays/aws

test-kubernetes: go ## test the whole system on a temporary cluster on this machine; needs Linux and root
	@go test -tags kubernetes -count=1 -v -timeout 45m ./services/tests/kubernetes

clean: go ## stop everything and remove .local with its data
	@$(STACK) clean

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/dl" >&2; exit 1; }
