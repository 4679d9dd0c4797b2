# The commands of this repository. They need Go and nothing else, except that
# internal/interop needs curl, and leaves out what Node, nghttp2 and Chromium are for
# if they are not installed.

# Every module whose tests `make test` runs, the root first.
MODULES := . auth/jwt compress cors consul dropin grpcadapter nats overload validate examples/consul telemetry examples/metrics examples/nats examples/shop examples/deploy/caddy internal/compat internal/gentest internal/protogen \
           internal/conntest internal/natstest internal/interop internal/conformance internal/buftest internal/bench internal/h2spec \
           internal/nethttptest internal/grpce2e internal/guidetest internal/releasecheck
# Every module, also those without tests.
ALL := $(MODULES) internal/tools

# -count=1: some tests read files outside of their module, which the cache of
# results does not watch.
GOTEST := go test -count=1 -timeout 30m
# With the race detector everywhere, except where the tests are about other
# programs: there they build and run those.
NORACE := examples/deploy/caddy internal/buftest internal/protogen internal/nethttptest internal/grpce2e internal/guidetest internal/releasecheck

# What is built here is thrown away: it needs no stamp, and so no git.
export GOFLAGS := -buildvcs=false

.PHONY: help test lint generate check-generated quickstart conformance bench bench-compare fuzz soak tidy release-check

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

test: ## all tests of all modules with the race detector, conformance, interoperation, quickstart
	@set -e; for m in $(MODULES); do \
		race=-race; for n in $(NORACE); do if [ $$m = $$n ]; then race=; fi; done; \
		echo "== $$m: go test $$race"; start=$$(date +%s); \
		(cd $$m && $(GOTEST) $$race ./...); \
		echo "== $$m: $$(( $$(date +%s) - start )) s"; \
	done
	@echo "== allocation budgets, without the race detector; conntest's whole matrix, of which the race detector gets a part"
	@go test -run Alloc -count=1 . ./auth ./h2 ./balance ./drain ./health ./inprocess ./retry
	@cd compress && go test -run Alloc -count=1 .
	@cd overload && go test -run Alloc -count=1 .
	@cd validate && go test -run Alloc -count=1 .
	@cd telemetry && go test -run Alloc -count=1 .
	@cd internal/bench && go test -run Alloc -count=1 .
	@cd internal/conntest && $(GOTEST) .
	@$(MAKE) --no-print-directory quickstart

lint: ## gofmt, vet and staticcheck
	@unformatted=$$(gofmt -l .); \
		if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	@cd internal/tools && go build -o ../../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	@set -e; for m in $(MODULES); do \
		echo "== $$m: vet, staticcheck"; \
		(cd $$m && go vet ./... && $(CURDIR)/bin/staticcheck ./...); \
	done

generate: ## everything that is generated: schemas, golden files, the drop-in, the peer's half of compat
	cd internal/protogen && go run . -all
	go run ./internal/dropingen
	cd internal/gentest && go test -count=1 -run TestGolden -rewrite .
	cd internal/compat && go generate .
	cd internal/conformance && go run . -generate
	cd internal/bench && go run ./generate

check-generated: ## fail if generate would change anything, in a copy of the tree
	@set -e; copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
		tar --exclude=./.git --exclude=./bin -cf - . | tar -xf - -C "$$copy"; \
		$(MAKE) --no-print-directory -C "$$copy" generate; \
		diff -r -x .git -x bin . "$$copy" || { echo "generated files are not up to date: run make generate"; exit 1; }

quickstart: ## the example: from a schema to calls
	go run ./examples/quickstart

conformance: ## connectrpc.com/conformance in both modes, with its report
	cd internal/conformance && go test -count=1 -v ./...

bench: ## this library, its peers and the floors side by side, in about five minutes
	cd internal/bench && go run . $(BENCHFLAGS)

bench-compare: ## this tree against the last release, in about a minute; for people to read, it fails on no figure
	cd internal/bench && go run . -release

FUZZTIME ?= 30s
fuzz: ## every fuzz test for FUZZTIME
	@set -e; for m in . auth auth/jwt cmd/protoc-gen-connect-go h2 h2/internal/wire retry balance internal/reflectcall compress cors lambda server server/systemd consul nats overload; do cd $(CURDIR)/$$m; \
		for f in $$(go test -list '^Fuzz' . | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) .; \
		done; \
	done

SOAKTIME ?= 60s
soak: ## mixed calls for SOAKTIME, over one connection for each of five ways to connect, and over NATS with events; make test has a shorter one
	cd internal/conntest && go test -count=1 -timeout 0 -run 'TestSoak$$' -v -soak $(SOAKTIME) .
	cd internal/natstest && go test -count=1 -timeout 0 -run 'TestSoak$$' -v -soak $(SOAKTIME) .

tidy: ## go mod tidy in every module
	@set -e; for m in $(ALL); do (cd $$m && go mod tidy); done

REF ?=
release-check: ## use the public modules as their users do: from a proxy in a folder, without replace; REF=vX.Y.Z for a tag
	cd internal/releasecheck && go run . -ref '$(REF)'
