# Sandlot. `make help` lists the targets.
#
# Everything a target needs is installed by it: `make demo` and `make test` work
# on a fresh Debian 12 or Ubuntu machine, as root.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

DATA   ?= /var/lib/sandlot
LISTEN ?= 127.0.0.1:8484
# Where tests keep kernels, images and their pool: kept between runs.
CACHE  ?= /var/cache/sandlot-test

# One set of flags for everything, so that nothing is compiled twice.
export GOFLAGS += -trimpath
export CGO_ENABLED := 0
GO     := $(shell command -v go 2>/dev/null || echo /usr/local/go/bin/go)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LABCTL_FLAGS = -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.built=$(shell date -u +%Y-%m-%d)

# Programs the host must have: the package of each.
RUN_PACKAGES := ca-certificates qemu-system-x86 seabios xfsprogs btrfs-progs e2fsprogs kmod nftables iproute2 buildah crun mmdebstrap curl uidmap debian-archive-keyring
TEST_PACKAGES := $(RUN_PACKAGES) tmux openssh-client attr busybox-static zsh fish
# What the page is made from, and the file that is there when it has been.
PAGE_INPUTS := $(shell find web \( -name node_modules -o -name test-results -o -name e2e \) -prune -o -type f ! -name '*.gen.ts' -print) api/openapi.json
PAGE        := internal/web/dist/app/index.html
NPM         := npm --loglevel error

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: host-packages node ## prepare this host, start labd and the lab of examples/two-networks.yaml
	@$(MAKE) --no-print-directory -j2 build
	@./tools/demo up "$(DATA)" "$(LISTEN)"

.PHONY: demo-clean
demo-clean: ## remove everything that make demo made on this host
	@./tools/demo clean "$(DATA)" "$(LISTEN)"

.PHONY: build
build: build-labd build-others ## build labd with its page, labctl and labinit into bin/

.PHONY: build-labd
build-labd: go web
	$(GO) build -o bin/labd ./cmd/labd

.PHONY: build-others
build-others: go
	$(GO) build -ldflags "$(LABCTL_FLAGS)" -o bin/labctl ./cmd/labctl
	$(GO) build -ldflags "-s -w" -o bin/labinit ./cmd/labinit

.PHONY: web
web: $(PAGE) ## build the page, which labd embeds; does nothing if nothing has changed

$(PAGE): web/node_modules/.package-lock.json $(PAGE_INPUTS)
	cd web && $(NPM) run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json | node
	cd web && $(NPM) ci
	@touch $@

.PHONY: web-check
web-check: web ## the page's own tests, and what its first load weighs
	cd web && $(NPM) run --silent test && $(NPM) run --silent size

.PHONY: test-page
test-page: test-packages build test-prepare ## run the stories of the page in Chromium, on labds of their own; SCREENS=DIR keeps their pictures
	@./tools/need-packages chromium
	LAB_TEST=root,vm,browser LAB_CACHE=$(CACHE) LAB_SCREENS=$(if $(SCREENS),$(abspath $(SCREENS))) $(GO) test -count=1 -timeout 15m -v -run 'TestPage$$' ./test

.PHONY: bench-page
bench-page: test-packages build test-prepare ## measure the figures of docs/web.md in Chromium
	@./tools/need-packages chromium
	LAB_FIGURES=yes LAB_TEST=root,vm,browser LAB_CACHE=$(CACHE) $(GO) test -count=1 -timeout 20m -v -run 'TestPage$$' ./test

.PHONY: test
test: test-packages build check web-check test-prepare ## install what the tests need and run all of them, machines included
	@./tools/need-packages chromium
	LAB_TEST=root,vm,browser LAB_CACHE=$(CACHE) LAB_KERNEL=$(CACHE)/kernels/6.1 LAB_KERNELS=$(CACHE)/kernels \
	  $(GO) test -count=1 -p 1 -timeout 25m ./...

.PHONY: test-bases
test-bases: test-packages build ## build every official image and boot every official base: takes an hour without KVM
	LABD_POOL_SIZE=$${LABD_POOL_SIZE:-16GiB} ./tools/test-prepare "$(CACHE)-bases" $(notdir $(wildcard images/*))
	LAB_TEST=root,vm,bases LAB_CACHE=$(CACHE)-bases $(GO) test -count=1 -timeout 90m -v -run TestBases ./test

.PHONY: test-quick
test-quick: go ## run the tests that need nothing installed, with the race detector if there is a C compiler
	if command -v gcc >/dev/null; then CGO_ENABLED=1 $(GO) test -race ./...; else $(GO) test ./...; fi

.PHONY: test-prepare
test-prepare: build
	./tools/test-prepare "$(CACHE)"

.PHONY: check
check: go ## gofmt, vet, staticcheck, import arrows, package comments
	@bad=$$(gofmt -l $$(git ls-files "*.go")); if [ -n "$$bad" ]; then echo "not formatted: $$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=tools/lint/go.mod staticcheck ./...

.PHONY: bench
bench: test-packages build test-prepare ## measure, side by side with plain QEMU, and print ratios
	$(GO) run ./tools/bench -data-dir $(CACHE)

.PHONY: install
install: build ## install the programs, the images' sources and the systemd unit on this host
	install -D -m 755 -t $(DESTDIR)/usr/libexec/sandlot bin/labd bin/labinit
	install -D -m 755 -t $(DESTDIR)/usr/bin bin/labctl
	mkdir -p $(DESTDIR)/usr/bin $(DESTDIR)/usr/share/sandlot
	ln -sf /usr/libexec/sandlot/labd $(DESTDIR)/usr/bin/labd
	cp -r images $(DESTDIR)/usr/share/sandlot/
	install -D -m 644 packaging/labd.service $(DESTDIR)/usr/lib/systemd/system/labd.service
	install -D -m 644 packaging/labd.yaml $(DESTDIR)/usr/share/sandlot/labd.yaml

.PHONY: go
go:
	@./tools/need-go "$(GO)"

.PHONY: node
node:
	@./tools/need-node

.PHONY: host-packages
host-packages:
	@./tools/need-packages $(RUN_PACKAGES)

.PHONY: test-packages
test-packages:
	@./tools/need-packages $(TEST_PACKAGES)

.PHONY: clean
clean: ## remove what make built
	rm -rf bin web/node_modules internal/web/dist/app
