# Two commands matter: `make demo` shows the system at work, `make test` proves it.
STACK := go run ./deploy/local/cmd/stack

.DEFAULT_GOAL := help
.PHONY: help demo up down logs status infra test audit faults crash bench images kubernetes test-kubernetes clean

help: ## list what can be made
	@echo "Event booking on this machine:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables (README.md has all): PORT_OFFSET=<n> shifts every port; POSTGRES_URL, AWS_ENDPOINT_URL,"
	@echo "SMTP_HOST and STRIPE_API_KEY point at servers of your own."

demo: go ## set up and start everything, then tell a story through the sidecars
	@$(STACK) demo

up: go ## set up and start everything; a second time repairs or reuses what is there
	@$(STACK) up

down: go ## stop everything; the data stays
	@$(STACK) down

logs: go ## follow the logs of all processes (Ctrl-C ends it)
	@$(STACK) logs

status: go ## say what is up
	@$(STACK) status

infra: go ## start only the servers (then: . .local/env && .local/bin/dapr run -f .)
	@$(STACK) servers

test: go ## set up what is missing, check the code and run every test; leaves nothing running
	@$(STACK) test

audit: go ## compare the data of all services with each other; ARGS=-quiet for an idle system
	@go run ./services/tests/audit/cmd/audit $(ARGS)

faults: go ## kill, freeze and lie to a system under load, SEED=1-10 ROUNDS=2, and audit it
	@FAULTS_SEED=$(or $(SEED),68) FAULTS_ROUNDS=$(or $(ROUNDS),1) go test -count=1 -v -timeout 0 -run TestTheBooksBalance ./services/tests/faults

crash: go ## kill a system's processes at each named point of the saga and of the consumers, and audit it
	@go test -tags crash -count=1 -v -timeout 0 -run TestEveryCrashPoint ./services/tests/faults

bench: go ## measure how fast it is; BENCH=1,5 measures only these, QUICK=1 shows that it works
	@go run ./services/tests/load -run "$(BENCH)" $(if $(QUICK),-quick) $(ARGS)

images: go ## build a container image of every program, as OCI archives in .local/images
	@$(STACK) images

kubernetes: go ## render deploy/kubernetes and check it against the schemas of Kubernetes and Dapr
	@go run -C tools/kubernetes . check overlays/local overlays/aws

test-kubernetes: go ## try the whole system on a throwaway cluster of this machine's own; wants root
	@go test -tags kubernetes -count=1 -v -timeout 45m ./services/tests/kubernetes

clean: go ## stop everything and remove .local, data included
	@$(STACK) clean

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/dl" >&2; exit 1; }
