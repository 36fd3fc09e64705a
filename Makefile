# make run    builds and starts the demo        make test   all set-up, then every test
# See CONTRIBUTING.md for the rest.

GO       ?= go
VERSION  ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 20000x
KILLS    ?= 200
RELOADS  ?= 500
SCHEDULES ?= 200000
LDFLAGS  := -s -w -X main.version=$(VERSION)
PEERS    := integration/peers

.PHONY: run build test setup lint unit integration sim fuzz lab lab-accuracy bench-dns bench-zones bench-probe soak soak-crash soak-reload soak-stories soak-failover soak-scale soak-sim clean

run: build
	./bin/pharos demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pharos ./cmd/pharos

setup:
	$(PEERS)/install --lab $(PEERS)/packages.txt

test: setup build lint unit integration sim fuzz
	@echo "all passed"

lint:
	$(GO) vet ./...
	$(GO) vet -tags simulation ./cluster ./integration/simulation
	$(GO) tool staticcheck ./...
	@out=$$($(GO) tool gofumpt -l .); test -z "$$out" || { echo "not formatted (go tool gofumpt -w .):"; echo "$$out"; exit 1; }
	$(GO) mod verify >/dev/null

# Every package with the race detector, one at a time: probes beside a busy neighbour time out.
# Then again without it what the race detector changes (allocations).
unit:
	$(GO) build -race ./...
	$(GO) test -race -p 1 -timeout 15m $$($(GO) list ./... | grep -v /integration)
	$(GO) test -timeout 10m -run Alloc ./dnsserver

# The stories mostly wait: several at a time.
integration: build
	$(GO) test -timeout 20m -count=1 $$($(GO) list ./integration/... | grep -v /stories)
	$(GO) test -timeout 20m -count=1 -parallel 4 ./integration/stories

# Random schedules of cuts, crashes and orders on the real deciding and the real exchange, with quick stand-ins for
# signatures; with real ones a few are among the tests of integration.
sim:
	$(GO) test -tags simulation -timeout 10m -count=1 -v -run Schedules ./integration/simulation

# Each fuzzer for FUZZTIME, beside its committed corpus. A number of runs, not a time: with a time, go test
# may report its own deadline as a finding. For longer: make fuzz FUZZTIME=10m
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

# Three sites on this machine, as root, that take orders.
lab: build
	$(GO) run ./integration/lab

# How exactly the emulator of the lab's lines holds 2 ms.
lab-accuracy: build
	$(GO) run ./integration/lab -accuracy

bench-setup: build
	$(PEERS)/install $(PEERS)/packages.txt $(PEERS)/packages-bench.txt

# CPU a query beside knotd, nsd and gdnsd.
bench-dns: bench-setup
	$(GO) run ./integration/bench dns

# Load time, memory and the answer times beside a reload.
bench-zones: bench-setup
	$(GO) run ./integration/bench zones

bench-probe:
	$(GO) test -run '^$$' -bench Targets -benchtime 1x ./probe

# kill -9 at random moments while orders are given, of one node and of the nodes of a cluster; make test does 5 and
# 20 rounds. PHAROS_SEED=N repeats a run's moments.
soak-crash: build
	PHAROS_KILLS=$(KILLS) $(GO) test -run TestKilled -count=1 -timeout 0 -v ./integration
	PHAROS_KILLS=$(KILLS) $(GO) test -run TestNodesKilled -count=1 -timeout 0 -v ./integration/faults

# What RELOADS reloads of one node leave behind; make test does 20.
soak-reload: build
	PHAROS_RELOADS=$(RELOADS) $(GO) test -run TestReloads -count=1 -timeout 0 -v ./integration

# The long forms of the tests, one after the other: hours.
soak: soak-crash soak-reload soak-stories soak-failover soak-scale soak-sim

# The stories of integration/stories with holds of a minute and losses of five. PHAROS_SEED=N repeats a run's losses.
soak-stories: build
	PHAROS_SOAK=1 $(GO) test -parallel 4 -count=1 -timeout 0 -v -run TestStories ./integration/stories

# How fast the nodes move, 50 runs, with the emulator's better mode: on a machine that does nothing else.
soak-failover: build
	PHAROS_SOAK=1 $(GO) test -count=1 -timeout 0 -v -run TestFailover ./integration/stories

# How soon many nodes in one process know of something, and what they cost; and how soon 1,000 services are moved in the lab:
# on a machine that does nothing else.
soak-scale: build
	PHAROS_SCALE=3,30,100,300 $(GO) test -run TestScale -count=1 -timeout 0 -v ./cluster
	PHAROS_RUNS=10 $(GO) test -run Thousand -count=1 -timeout 0 -v ./integration/faults

# SCHEDULES random schedules from PHAROS_SEED (1) on.
soak-sim:
	PHAROS_SCHEDULES=$(SCHEDULES) $(GO) test -tags simulation -timeout 0 -count=1 -v -run Schedules ./integration/simulation

clean:
	rm -rf bin
