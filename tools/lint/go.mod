module github.com/eventbooking/eventbooking/tools/lint

go 1.26.4

tool (
	github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	mvdan.cc/gofumpt
)

require (
	github.com/golangci/golangci-lint/v2 v2.15.0
	mvdan.cc/gofumpt v0.12.0
)
