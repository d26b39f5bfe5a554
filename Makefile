# Actual Kubelets. `make` without a target lists all targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
# go and golangci-lint use all processors. Targets that run in parallel would
# compete for them, and for bin/ and the clusters.
.NOTPARALLEL:

# Version that the programs report.
ifndef VERSION
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
endif
# Directory of the clusters of `make up` and `make demo`.
CLUSTERS_DIR ?= .clusters
export CLUSTERS_DIR
# Name of the akd image.
IMAGE ?= ghcr.io/actual-kubelets/akd:$(VERSION)
# How long each fuzz target runs.
FUZZTIME ?= 60s
# Which Go benchmarks run, and how often.
BENCH ?= .
BENCHCOUNT ?= 6
# Flags for a benchmark, such as BENCHFLAGS='--pods 200 --page docs/performance/tables.md'.
BENCHFLAGS ?=

BUILDFLAGS := -trimpath -ldflags "-X main.version=$(VERSION)"
# Static programs, which need no libraries on the machine.
GOBUILD := CGO_ENABLED=0 go build $(BUILDFLAGS)
# The modules that contain code, and all modules.
CODE := . test/clusters test/policies
MODULES := $(CODE) tools tools/sbom test/e2e/krew test/e2e/crossplane test/e2e/crossplane/helm test/e2e/etcd test/e2e/metrics-server

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##  Build

.PHONY: build
build: akd kubectl-actual clusters ## Build every program into bin/

.PHONY: akd
akd: ## Build akd into bin/
	$(GOBUILD) -o bin/akd ./cmd/akd

.PHONY: akd-race
akd-race: c-compiler ## Build akd with the race detector, for tests, into bin/
	go build $(BUILDFLAGS) -race -o bin/akd-race ./cmd/akd

.PHONY: kubectl-actual
kubectl-actual: ## Build the kubectl plugin into bin/
	$(GOBUILD) -o bin/kubectl-actual ./cmd/kubectl-actual

.PHONY: clusters
clusters: ## Build clusters, the command for test clusters, into bin/
	cd test/clusters && $(GOBUILD) -o ../../bin/clusters .

.PHONY: image
image: export VERSION := $(VERSION)
image: export IMAGE := $(IMAGE)
image: clusters ## Build the akd image into dist/akd-image.tar, without Docker: PLATFORMS=
	tools/image

.PHONY: release
release: export VERSION := $(VERSION)
release: .bin/cyclonedx-gomod ## Build the plugin's archives, bills of materials, checksums and krew manifest into dist/release
	tools/release

.PHONY: generate
generate: ## Update the generated files
	go generate ./...
	go test ./pkg/provider/translate -run '^TestFieldsDoc$$' -update

##  See it work

.PHONY: demo
demo: export IMAGE := $(IMAGE)
demo: export PLATFORMS := linux/$(shell go env GOARCH)
demo: build image ## Show the main features on two real clusters
	test/demo/demo.sh

.PHONY: up
up: clusters ## Start two real clusters (root on Linux; simulated nodes on other systems)
	bin/clusters --dir "$(CLUSTERS_DIR)" up $(if $(filter 0Linux,$(shell id -u)$(shell uname)),--local-path)

.PHONY: down
down: clusters ## Remove the clusters of `make up` and `make demo` completely
	bin/clusters --dir "$(CLUSTERS_DIR)" down

##  Test

.PHONY: test
test: test-unit test-e2e ## Run all tests: unit tests, scenarios, and end-to-end tests on real clusters

.PHONY: test-unit
test-unit: c-compiler ## Run the tests that need no cluster
	go test -race ./...
	cd test/clusters && go test -race ./...
	cd test/policies && go test ./...
	$(MAKE) simulate SEEDS=3000

.PHONY: test-e2e
test-e2e: build akd-race ## Run the end-to-end tests, and a selection of Kubernetes' own, on real clusters (root on Linux)
	go test -race -count=1 -parallel 4 -timeout $(if $(E2E_SLOW),3h,60m) -tags e2e ./test/e2e/... ./test/conformance ./test/faults

.PHONY: e2e
e2e: export E2E_SLOW := 1
e2e: export E2E_TENANT := 1
e2e: test-e2e ## Run test-e2e as a tenant, with the slow tests: restores of etcd, token expiry, Crossplane

.PHONY: faults
faults: build akd-race ## Let faults happen to two real clusters and akd: N=1000 SEED= FOR=90m AT_ONCE= CLAIMS=false; RESUME=1 goes on after an interruption
	go test -race -count=1 -v -timeout 0 -tags e2e ./test/faults -run '^TestFaults$$' -args -faults $(or $(N),1000) \
	  $(if $(SEED),-seed $(SEED)) $(if $(FOR),-for $(FOR)) $(if $(AT_ONCE),-at-once $(AT_ONCE)) $(if $(CLAIMS),-claims=$(CLAIMS)) $(if $(RESUME),-resume)

.PHONY: simulate
simulate: ## Let akd live random histories between two fake clusters: SEEDS=10000 SEED=1
	go test -count=1 -timeout 0 ./pkg/provider/internal/podsync -run '^TestHistories$$' -args -seeds $(or $(SEEDS),10000) -seed $(or $(SEED),1)

.PHONY: simulate-conformance
simulate-conformance: build ## Hold the answers of the fake servers against those of a real API server (root on Linux)
	go test -count=1 ./pkg/provider/internal/podsync/scenario -run '^TestAnswers$$'
	go test -count=1 -tags e2e ./test/e2e -run '^TestAnswers$$'

.PHONY: explore
explore: ## Let akd live all histories of one pod, and of one claim, with DEPTH acts: DEPTH=4
	go test -count=1 -timeout 0 -v ./pkg/provider/internal/podsync -run '^TestExploration$$' -args -depth $(or $(DEPTH),4)

.PHONY: planted
planted: ## Let random histories find the faults of podsync/testdata/planted: SEEDS=3000 SEED=1
	go test -count=1 -timeout 0 -v ./pkg/provider/internal/podsync -run '^TestPlantedFaults$$' -args -plant $(or $(SEEDS),3000) -seed $(or $(SEED),1)

.PHONY: network-tools
network-tools: ## Install dig and nc for Kubernetes' DNS and UDP tests, if missing (Debian, root)
	@{ command -v dig && command -v nc.openbsd; } >/dev/null || \
	  tools/install-packages "Kubernetes' tests of DNS and UDP need dig and OpenBSD's nc" bind9-dnsutils netcat-openbsd

.PHONY: conformance
conformance: akd clusters network-tools ## Run Kubernetes' tests through AK, and directly if they fail: SUITE=node|slice|full|storage FOCUS= SKIP= PROCS= REPEAT= BOTH=1 DIRECT=1 RESUME=1
	go build -o bin/conformance ./test/conformance
	bin/conformance $(if $(SUITE),--suite $(SUITE)) $(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)') \
	  $(if $(PROCS),--procs $(PROCS)) $(if $(REPEAT),--repeat $(REPEAT)) $(if $(BOTH),--both) $(if $(DIRECT),--direct) $(if $(RESUME),--resume)

.PHONY: skew
skew: build akd-race ## Run a short end-to-end test between different Kubernetes versions: SKEW=all for every pair
	go build -o bin/skew ./test/skew
	bin/skew --page docs/compatibility.md $(if $(filter all,$(SKEW)),--all)

.PHONY: fuzz
fuzz: fuzz-targets ## Run each fuzz target for FUZZTIME (60s), and histories that nobody has lived
	$(MAKE) simulate SEEDS=3000 SEED="$$(date +%s)"

.PHONY: fuzz-targets
fuzz-targets: ## Run each fuzz target for FUZZTIME (60s)
	@status=0; for module in $(CODE); do (cd $$module && FUZZTIME=$(FUZZTIME) "$(CURDIR)/tools/fuzz") || status=1; done; exit $$status

##  Measure

.PHONY: bench
bench: build ## Measure many pods at once: direct, both clusters alone, AK (simulated nodes)
	go run ./test/bench pods $(BENCHFLAGS)

.PHONY: bench-latency
bench-latency: build ## Measure the latency of single pods, direct and through AK (root on Linux)
	go run ./test/bench latency $(BENCHFLAGS)

.PHONY: bench-restart
bench-restart: build ## Measure restarts of akd with running pods (simulated nodes)
	go run ./test/bench restart $(BENCHFLAGS)

.PHONY: bench-idle
bench-idle: build ## Measure akd with idle pods (simulated nodes)
	go run ./test/bench idle $(BENCHFLAGS)

.PHONY: soak
soak: build ## Let pods come and go for an hour, and look for what grows in akd (simulated nodes): BENCHFLAGS='--for 1h --pods 200'
	go run ./test/bench soak $(BENCHFLAGS)

.PHONY: bench-scale
bench-scale: build ## Measure how the cost of akd grows with pods and namespaces (simulated nodes)
	go run ./test/bench scale $(BENCHFLAGS)

.PHONY: bench-streams
bench-streams: build ## Measure exec, port-forward and logs, direct and through AK (root on Linux)
	go run ./test/bench streams $(BENCHFLAGS)

.PHONY: bench-cli
bench-cli: build ## Measure kubectl-actual against kubectl: startup, and where -A with many pods (simulated nodes)
	go run ./test/bench cli $(BENCHFLAGS)

.PHONY: bench-go
bench-go: .bin/benchstat ## Run the Go benchmarks: BENCH= BENCHCOUNT=; OLD=FILE compares with earlier results
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
verify: verify-format verify-words verify-vet verify-modules verify-generated lint ## Run all checks that are not tests

.PHONY: verify-format
verify-format: ## Check that Go files are formatted
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l); \
	[ -z "$$unformatted" ] || { printf 'format these files with gofmt -w:\n%s\n' "$$unformatted" >&2; exit 1; }

.PHONY: verify-words
verify-words: ## Check the words and the width of texts
	tools/verify-words

.PHONY: verify-vet
verify-vet: ## Run go vet, including end-to-end tests and files for other systems
	@status=0; for module in $(CODE); do \
	  (cd $$module && go vet -tags e2e ./... && GOOS=darwin go vet ./...) || status=1; \
	done; exit $$status

.PHONY: verify-modules
verify-modules: ## Check that each module's go.mod and go.sum are tidy
	@status=0; for module in $(MODULES); do \
	  (cd $$module && go mod tidy -diff) || { echo "run go mod tidy in $$module" >&2; status=1; }; \
	done; exit $$status

.PHONY: verify-generated
verify-generated: ## Check that the generated files are up to date
	tools/verify-generated

.PHONY: reproducible
reproducible: .bin/cyclonedx-gomod ## Check that the last commit, built twice in different directories, gives the same bytes
	tools/verify-reproducible

.PHONY: vulncheck
vulncheck: .bin/govulncheck ## Look for known vulnerabilities in the code that the programs call
	@status=0; for module in $(CODE); do \
	  (cd $$module && "$(CURDIR)/.bin/govulncheck" ./...) || status=1; \
	done; exit $$status

.PHONY: c-compiler
c-compiler: ## Install a C compiler for the race detector, if missing (Debian, root)
	@command -v "$$(go env CC)" >/dev/null || tools/install-packages 'the race detector needs a C compiler' gcc libc6-dev

.PHONY: clean
clean: ## Remove build results; keep running clusters and the cache of their programs
	rm -rf bin .bin dist

# Tools are pinned in tools/go.mod and built from source. The rename at the end
# keeps a tool whole even if several builds of it run at the same time.
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
