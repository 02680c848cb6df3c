# Everything a developer runs. Thin: what takes more than a line is in tests/cluster/*.sh.
.DEFAULT_GOAL := help
.PHONY: help setup build test lint check parity export-check demo lab bench sim fuzz clean

CARGO ?= cargo
HOSTS ?=
CORPUS ?=
SEEDS ?= 200
SEED ?= 1
TARGET ?= load
SECONDS ?= 60

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (Docker Engine, debootstrap, …) from the distribution
	@tests/cluster/setup.sh

build: ## Build the `muster` binary (target/debug/muster)
	@$(CARGO) build --locked

# Where nothing can be installed, the tests that need it say so themselves.
test: ## Run every test, those on real Docker hosts included (needs Linux and root)
	@[ "$${MUSTER_SKIP_CLUSTER:-}" = 1 ] || tests/cluster/setup.sh || true
	@$(CARGO) test --workspace --locked

lint: ## Check format, lints, links of the documentation and dependencies
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	else echo "check: NOT CHECKED: licenses and banned crates (cargo install cargo-deny --locked)"; fi

check: lint ## Run the lints and every test that needs no Docker
	@MUSTER_SKIP_CLUSTER=1 $(CARGO) test --workspace --locked

parity: ## Compare `muster config` with Docker Compose: CORPUS=folder with files.tsv (repo, path)
	@ORACLE=$${ORACLE:-$$(tests/cluster/peer.sh)} CORPUS=$(CORPUS) \
		$(CARGO) test -q --locked -p muster --test parity

export-check: build ## Export a corpus and have schemas, helm and kubectl judge it: CORPUS=folder with files.tsv
	@tests/kubernetes/run.sh "$(CORPUS)"

demo: setup build ## Show muster on three Docker hosts, one of which loses its power
	@tests/cluster/demo.sh

lab: setup ## Start three Docker hosts to try things on (tests/cluster/lab.sh says how)
	@tests/cluster/lab.sh up $(or $(HOSTS),3)
	@tests/cluster/lab.sh status
	@echo "enter one: tests/cluster/lab.sh exec h1 bash    remove them: tests/cluster/lab.sh down"

bench: setup ## Measure muster beside plain Docker and Docker Swarm
	@$(CARGO) build --release --locked
	@tests/cluster/bench.sh $(FIGURES)

# Optimised, with every assertion on; what it is linked with is as the other tests have it.
sim: ## Simulate hosts in virtual time: SEEDS=200 SEED=1 HOSTS=5
	@MUSTER_SIM_SEEDS=$(SEEDS) MUSTER_SIM_SEED=$(SEED) MUSTER_SIM_HOSTS=$(HOSTS) \
		$(CARGO) test --config 'profile.dev.package.muster.opt-level=3' --locked \
		-p muster --test sim -- --nocapture

fuzz: ## Feed broken input to the loader: TARGET=load SECONDS=60
	@tests/fuzz/run.sh $(TARGET) $(SECONDS)

clean: ## Remove the build, the lab and its images
	@tests/cluster/lab.sh down
	@$(CARGO) clean
	@rm -rf --one-file-system .lab
