GOTOOL = go tool -modfile=tools.mod

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary ./mayfly, as it is released: the runtime erases keys, and what it frees
	@.ci/build mayfly

test: ## every test with the race detector, then what was skipped and why
	@.ci/test -race ./...

quick: ## every test without the race detector
	@.ci/test ./...

lint: ## go vet and golangci-lint, architecture rules included
	go vet ./...
	$(GOTOOL) golangci-lint run

fmt: ## format the code and its imports
	$(GOTOOL) golangci-lint fmt

fuzz: ## each fuzz target for FUZZTIME, 5s
	@.ci/fuzz $(or $(FUZZTIME),5s)

bench: ## ingest beside kafka-go and rsyslog; BENCHFLAGS: -events, -rounds, -rate, -live, -stall, -results, -profiles
	go test -run '^$$' -bench '^BenchmarkIngest$$' -benchtime 1x -timeout 30m ./pipeline/bench $(BENCHFLAGS)

bench-%: ## curve: bytes and look-ups against the rate; scale: processes; follow: ingest at -rate; residue: what is left of an address; purge; day: look-ups; BENCHFLAGS: -sample, -epochs, -day-rows
	go test -run '^$$' -bench '(?i)^Benchmark$*$$' -benchtime 1x -timeout 60m $(if $(filter residue purge,$*),./cmd/mayfly/guarantee,./pipeline/bench $(BENCHFLAGS))

mutants: ## take out each protection in a copy: its case must fail; MUTANTS matches names
	go test -v -run '^TestMutants$$' -timeout 90m ./cmd/mayfly/guarantee -mutants '$(or $(MUTANTS),.)'

microbench: ## the small benchmarks whose name matches BENCH
	go test -run '^$$' -bench '$(or $(BENCH),.)' -skip '^Benchmark(Ingest|Curve|Scale|Follow|Residue|Purge|Day)$$' -benchmem ./...

example: ## write deploy/mayfly.example.yaml anew
	go run ./cmd/mayfly config example > deploy/mayfly.example.yaml

.PHONY: help build test quick lint fmt fuzz bench mutants microbench example
