# Actual Kubelets. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD := go build -trimpath -ldflags "-X main.version=$(VERSION)"
# Where the clusters of `make up` and `make demo` live.
CLUSTERS_DIR ?= .clusters
export CLUSTERS_DIR
# How long each fuzz target runs.
FUZZTIME ?= 60s
# Modules of this repository.
MODULES := . test/clusters tools

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: akd clusters ## Build akd and the clusters command into bin/

.PHONY: akd
akd: ## Build akd into bin/
	$(GOBUILD) -o bin/akd ./cmd/akd

.PHONY: clusters
clusters: ## Build the clusters command, which runs the test clusters, into bin/
	cd test/clusters && $(GOBUILD) -o ../../bin/clusters .

.PHONY: up
up: clusters ## Bring up two real clusters (root on Linux; simulated nodes elsewhere)
	bin/clusters --dir $(CLUSTERS_DIR) up

.PHONY: down
down: clusters ## Take the clusters of `make up` and `make demo` down, without a trace
	bin/clusters --dir $(CLUSTERS_DIR) down

.PHONY: demo
demo: build ## Show the main job on two real clusters, with real commands
	test/demo/demo.sh

.PHONY: test
test: test-unit test-e2e ## Run all tests: units, scenarios, and end to end on real clusters

.PHONY: test-unit
test-unit: ## Run the tests that need no clusters
	go test -race ./...
	cd test/clusters && go test -race ./...

.PHONY: test-e2e
test-e2e: build ## Run the end-to-end tests on real clusters of their own (root on Linux)
	$(GOBUILD) -race -o bin/akd-race ./cmd/akd
	go test -count=1 -timeout 60m -tags e2e ./test/e2e/...

.PHONY: e2e
e2e: test-e2e ## The same as test-e2e

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

.PHONY: generate
generate: ## Make the generated files anew
	go generate ./...

.PHONY: lint
lint: .bin/golangci-lint ## Run the linters
	.bin/golangci-lint run ./...
	cd test/clusters && ../../.bin/golangci-lint run ./...

.PHONY: verify
verify: lint ## Check formatting, vet, lint, tidy modules; tests check generated files
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt these files: $$unformatted"; exit 1; }
	for module in $(MODULES); do (cd $$module && go vet ./... && go mod tidy -diff); done
	go vet -tags e2e ./test/e2e/...
	go test ./pkg/provider/config ./pkg/provider/metrics ./pkg/provider/translate

.PHONY: vulncheck
vulncheck: .bin/govulncheck ## Look for known vulnerabilities in what akd calls
	.bin/govulncheck ./...

# Tools are pinned in tools/go.mod and built from source.
.bin/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
.bin/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck
.bin/golangci-lint .bin/govulncheck: tools/go.mod tools/go.sum
	@echo "building $@ from source, which takes minutes the first time" >&2
	cd tools && go build -o ../$@.new $(PACKAGE)
	mv $@.new $@

.PHONY: clean
clean: ## Remove what was built here (not the cache of cluster programs)
	rm -rf bin .bin dist
