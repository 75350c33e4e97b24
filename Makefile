# Afina. `make help` lists the targets.
export CGO_ENABLED = 0

BIN      = bin/afina
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
MODEL    = smollm2-135m-instruct
ROWS     =
ROUNDS   = 5

.DEFAULT_GOAL = help
.PHONY: help build model demo serve test test-avx2 check bench bench-phi2 microbench generate sdk fuzz-api soak

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/	/'

build: ## the program: bin/afina
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/server

model: build ## SmolLM2-135M-Instruct into models/
	$(BIN) models pull $(MODEL)

demo: model ## from nothing to a tuned model: upload, train, watch, chat
	go run ./cmd/demo -afina $(BIN) -model $(MODEL) -dataset dataset/matematicas.json

serve: build ## the service on 127.0.0.1:8080
	$(BIN) serve

test: ## all tests; those of the real model skip when it is absent
	go test -timeout 20m ./...

test-avx2: ## all tests as on a machine without AVX-512
	GODEBUG=cpu.avx512f=off go test -count=1 -timeout 20m ./...

SDK = .cache/sdk

sdk: ## the official OpenAI clients for Python and Node, and the API fuzzer, into .cache/sdk
	test -x $(SDK)/venv/bin/python || python3 -m venv $(SDK)/venv
	$(SDK)/venv/bin/pip install -q openai schemathesis
	npm install --silent --no-audit --no-fund --prefix $(SDK) openai

FUZZ = 600

fuzz-api: build sdk ## schemathesis over the whole API of a real server, FUZZ seconds (600)
	go test -count=1 -timeout 0 -run TestFuzzAPI -v ./cmd/server/ -fuzz-api $(FUZZ)s

SOAK = 10m

soak: model ## 64 clients come, stream, stall and leave while a job trains, for SOAK (10m)
	go test -count=1 -timeout 0 -run TestSoak -v ./cmd/server/ -soak $(SOAK)

check: ## formatting, vet, staticcheck, race, the build without assembly, generated files
	@test -z "$$(gofmt -l cmd internal)" || { gofmt -l cmd internal; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	GOARCH=arm64 go build ./...
	go test -tags purego ./internal/kernel/
	CGO_ENABLED=1 go test -race -short ./internal/...
	$(MAKE) generate
	git diff --exit-code -- internal/kernel

bench: model ## Afina beside llama.cpp and PyTorch: bench/results (ROWS=a,b ROUNDS=5)
	go build -trimpath -o bin/bench ./cmd/bench
	bin/bench -rows "$(ROWS)" -rounds $(ROUNDS)

bench-phi2: ## the same with a model of Phi-2's shape (needs 12 GB)
	$(MAKE) bench ROWS=phi2

microbench: ## Go benchmarks of kernels, training and serving
	go test -run '^$$' -bench . -benchtime 1s ./internal/kernel/ ./internal/graph/ ./internal/forward/

generate: ## write the assembly of internal/kernel anew
	cd internal/kernel/_gen && go run .
