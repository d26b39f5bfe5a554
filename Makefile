# Actual Kubelets. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
# go and golangci-lint use all processors by themselves; targets that ran at
# the same time would only share them, and bin/ and the clusters besides.
.NOTPARALLEL:

# Version that programs report.
ifndef VERSION
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
endif
# Where the clusters of `make up` and `make demo` live.
CLUSTERS_DIR ?= .clusters
export CLUSTERS_DIR
# Name of akd's image.
IMAGE ?= ghcr.io/actual-kubelets/akd:$(VERSION)
# How long each fuzz target runs.
FUZZTIME ?= 60s
# Which Go benchmarks run, and how often each.
BENCH ?= .
BENCHCOUNT ?= 6
# Flags of a measurement, such as BENCHFLAGS='--pods 200 --page docs/performance/tables.md'.
BENCHFLAGS ?=

BUILDFLAGS := -trimpath -ldflags "-X main.version=$(VERSION)"
# Programs need nothing of the machine that they run on.
GOBUILD := CGO_ENABLED=0 go build $(BUILDFLAGS)
# Modules of this repository with code in them, and all modules.
CODE := . test/clusters
MODULES := $(CODE) tools tools/sbom test/e2e/krew test/e2e/crossplane test/e2e/crossplane/helm test/e2e/metrics-server
# The plugin is built once it is there.
PLUGIN := $(notdir $(wildcard cmd/kubectl-actual))

.PHONY: help
help: ## List the targets
	@awk -v missing="$(if $(PLUGIN),,kubectl-actual)" 'BEGIN {FS = ":.*## "} \
	  /^[a-z0-9-]+:.*## / && $$1 != missing {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##  Build

.PHONY: build
build: akd $(PLUGIN) clusters ## Build every program into bin/

.PHONY: akd
akd: ## Build akd into bin/
	$(GOBUILD) -o bin/akd ./cmd/akd

ifneq ($(PLUGIN),)
.PHONY: kubectl-actual
kubectl-actual: ## Build the kubectl plugin into bin/
	$(GOBUILD) -o bin/kubectl-actual ./cmd/kubectl-actual
endif

.PHONY: clusters
clusters: ## Build the clusters command, which runs the test clusters, into bin/
	cd test/clusters && $(GOBUILD) -o ../../bin/clusters .

.PHONY: image
image: export VERSION := $(VERSION)
image: export IMAGE := $(IMAGE)
image: clusters ## Build akd's image for linux/amd64 and linux/arm64 into dist/akd-image.tar, without Docker: PLATFORMS=
	tools/image

.PHONY: release
release: export VERSION := $(VERSION)
release: .bin/cyclonedx-gomod ## Make the plugin's archives for all platforms, bills of materials, checksums and the krew manifest in dist/release
	tools/release

.PHONY: generate
generate: ## Make the generated files anew
	go generate ./...
	go test ./pkg/provider/translate -run '^TestFieldsDoc$$' -update

##  See it work

.PHONY: demo
demo: export IMAGE := $(IMAGE)
demo: export PLATFORMS := linux/$(shell go env GOARCH)
demo: build image ## Show the main job on two real clusters, with real commands
	test/demo/demo.sh

.PHONY: up
up: clusters ## Bring up two real clusters (root on Linux; simulated nodes elsewhere)
	bin/clusters --dir "$(CLUSTERS_DIR)" up

.PHONY: down
down: clusters ## Take the clusters of `make up` and `make demo` down, without a trace
	bin/clusters --dir "$(CLUSTERS_DIR)" down

##  Test

.PHONY: test
test: test-unit test-e2e ## Run all tests: units, scenarios, and end to end on real clusters

.PHONY: test-unit
test-unit: c-compiler ## Run the tests that need no clusters
	go test -race ./...
	cd test/clusters && go test -race ./...

.PHONY: test-e2e
test-e2e: build c-compiler ## Run the end-to-end tests, and a slice of Kubernetes' own, on real clusters of their own (root on Linux)
	go build $(BUILDFLAGS) -race -o bin/akd-race ./cmd/akd
	go test -race -count=1 -timeout $(if $(E2E_SLOW),3h,60m) -tags e2e ./test/e2e/... ./test/conformance

.PHONY: e2e
e2e: export E2E_SLOW := 1
e2e: export E2E_TENANT := 1
e2e: test-e2e ## The same as a tenant of the remote cluster, with the slow ones: tokens that expire, metrics-server, Crossplane

.PHONY: network-tools
network-tools: ## Install dig and nc, which Kubernetes' tests of DNS and UDP call, where there are none (Debian, root)
	@{ command -v dig && command -v nc.openbsd; } >/dev/null || \
	  tools/install-packages "Kubernetes' tests of DNS and UDP need dig and OpenBSD's nc" bind9-dnsutils netcat-openbsd

.PHONY: conformance
conformance: akd clusters network-tools ## Run Kubernetes' own tests directly and through AK: SUITE=node|slice|full FOCUS= SKIP= PROCS= REPEAT= RESUME=1
	go build -o bin/conformance ./test/conformance
	bin/conformance $(if $(SUITE),--suite $(SUITE)) $(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)') \
	  $(if $(PROCS),--procs $(PROCS)) $(if $(REPEAT),--repeat $(REPEAT)) $(if $(RESUME),--resume)

.PHONY: skew
skew: build c-compiler ## Run a short end-to-end test between clusters of different Kubernetes versions: SKEW=all for every pair
	go build $(BUILDFLAGS) -race -o bin/akd-race ./cmd/akd
	go build -o bin/skew ./test/skew
	bin/skew --page docs/compatibility.md $(if $(filter all,$(SKEW)),--all)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (60s)
	@status=0; for module in $(CODE); do (cd $$module && FUZZTIME=$(FUZZTIME) "$(CURDIR)/tools/fuzz") || status=1; done; exit $$status

##  Measure

.PHONY: bench
bench: build ## Measure many pods at once: direct, both clusters by themselves, AK (simulated nodes)
	go run ./test/bench pods $(BENCHFLAGS)

.PHONY: bench-latency
bench-latency: build ## Measure pods one after the other, direct and through AK (root on Linux)
	go run ./test/bench latency $(BENCHFLAGS)

.PHONY: bench-restart
bench-restart: build ## Measure restarts of akd while its pods run (simulated nodes)
	go run ./test/bench restart $(BENCHFLAGS)

.PHONY: bench-idle
bench-idle: build ## Measure akd while its pods do nothing (simulated nodes)
	go run ./test/bench idle $(BENCHFLAGS)

.PHONY: bench-scale
bench-scale: build ## Measure how akd's cost grows with pods and namespaces (simulated nodes)
	go run ./test/bench scale $(BENCHFLAGS)

.PHONY: bench-streams
bench-streams: build ## Measure exec, port-forward and logs, direct and through AK (root on Linux)
	go run ./test/bench streams $(BENCHFLAGS)

.PHONY: bench-cli
bench-cli: build ## Measure kubectl-actual next to kubectl: its start, and where -A with many pods (simulated nodes)
	go run ./test/bench cli $(BENCHFLAGS)

.PHONY: bench-go
bench-go: .bin/benchstat ## Run the Go benchmarks BENCH BENCHCOUNT times; with OLD=FILE, compare
	@mkdir -p dist
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCHCOUNT) ./... | tee dist/bench.txt.new
	mv dist/bench.txt.new dist/bench.txt
	.bin/benchstat $(OLD) dist/bench.txt

##  Check

.PHONY: lint
lint: .bin/golangci-lint ## Run the linters
	@status=0; for module in $(CODE); do \
	  (cd $$module && "$(CURDIR)/.bin/golangci-lint" run ./...) || status=1; \
	done; exit $$status

.PHONY: verify
verify: verify-format verify-vet verify-modules verify-generated lint ## Check all that needs no test: the targets below, and lint

.PHONY: verify-format
verify-format: ## Check that gofmt has nothing to change
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l); \
	[ -z "$$unformatted" ] || { printf 'format these files with gofmt -w:\n%s\n' "$$unformatted" >&2; exit 1; }

.PHONY: verify-vet
verify-vet: ## Run go vet, end-to-end tests and other systems' files included
	@status=0; for module in $(CODE); do \
	  (cd $$module && go vet -tags e2e ./... && GOOS=darwin go vet ./...) || status=1; \
	done; exit $$status

.PHONY: verify-modules
verify-modules: ## Check that go.mod and go.sum of each module are tidy
	@status=0; for module in $(MODULES); do \
	  (cd $$module && go mod tidy -diff) || { echo "run go mod tidy in $$module" >&2; status=1; }; \
	done; exit $$status

.PHONY: verify-generated
verify-generated: ## Check that the generated files are current
	tools/verify-generated

.PHONY: reproducible
reproducible: .bin/cyclonedx-gomod ## Check that the last commit, built twice in different places, makes the same archive and image
	tools/verify-reproducible

.PHONY: vulncheck
vulncheck: .bin/govulncheck ## Look for known vulnerabilities in what the programs call
	@status=0; for module in $(CODE); do \
	  (cd $$module && "$(CURDIR)/.bin/govulncheck" ./...) || status=1; \
	done; exit $$status

.PHONY: c-compiler
c-compiler: ## Install the C compiler that the race detector needs, where there is none (Debian, root)
	@command -v "$$(go env CC)" >/dev/null || tools/install-packages 'the race detector needs a C compiler' gcc libc6-dev

.PHONY: clean
clean: ## Remove what was built here; not running clusters, nor the cache of their programs
	rm -rf bin .bin dist

# Tools are pinned in tools/go.mod and built from source. A tool appears whole
# or not at all, whoever else builds it at the same time.
.bin/benchstat: PACKAGE := golang.org/x/perf/cmd/benchstat
.bin/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
.bin/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck
.bin/benchstat .bin/golangci-lint .bin/govulncheck: tools/go.mod tools/go.sum
	@echo "building $@ from source; the first time takes minutes" >&2
	@new="$@.$$$$"; trap 'rm -f "$$new"' EXIT; \
	(cd tools && go build -o "../$$new" $(PACKAGE)); mv -f "$$new" $@

.bin/cyclonedx-gomod: tools/sbom/go.mod tools/sbom/go.sum
	@echo "building $@ from source" >&2
	@cd tools/sbom && go build -o ../../$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
