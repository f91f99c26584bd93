# make run     bring up the identity plane, three control planes and the sample estate
# make test    every test, the slow real ones included; make test-fast, the quick ones alone
# make bench   the figures, side by side with their peers
# make compat  write docs/compatibility.md from a run with the real clients
# make lint    vet, staticcheck, gofmt and the rules of the tree

SHELL       := /bin/bash
BIN         := $(CURDIR)/bin
GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
KUBELOGIN   := github.com/Azure/kubelogin@v0.2.21
FUZZTIME    ?= 5s

JS          := $(CURDIR)/test/azure/js

export GATEHOUSE_KUBE      := $(BIN)/gatehouse-kube
export GATEHOUSE_KUBELOGIN := $(BIN)/kubelogin
export GATEHOUSE_BIN       := $(BIN)/gatehouse
export GATEHOUSE_NODE      := $(BIN)/gatehouse-node
export GATEHOUSE_CSIDRIVER := $(BIN)/secrets-store-csi-driver

.PHONY: run build test test-fast compat fuzz bench lint clean

run: build
	$(BIN)/gatehouse up

build: $(BIN)/gatehouse $(BIN)/gatehouse-kube $(BIN)/gatehouse-node

SOURCES := $(shell find cmd internal -type f -not -name '*_test.go' 2>/dev/null) go.mod go.sum

$(BIN)/gatehouse: $(SOURCES)
	@echo "building gatehouse" >&2
	@$(GO) build -trimpath -o $@ ./cmd/gatehouse

$(BIN)/gatehouse-node: $(SOURCES)
	@echo "building gatehouse-node" >&2
	@$(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/gatehouse-node

# Kubernetes knows its own version only if the linker tells it.
KUBE_VERSION := $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2; exit }' kube/go.mod)
KUBE_LDFLAGS := $(addprefix -X k8s.io/component-base/version.,gitVersion=$(KUBE_VERSION) gitMajor=1 gitMinor=$(word 2,$(subst ., ,$(KUBE_VERSION))))

$(BIN)/gatehouse-kube: kube/main.go kube/go.mod kube/go.sum
	@echo "building gatehouse-kube: kube-apiserver, kube-controller-manager, kubectl and kubelet; the first time takes about five minutes" >&2
	@cd kube && $(GO) build -trimpath -ldflags='-s -w $(KUBE_LDFLAGS)' -o $@ .

$(BIN)/kubelogin: Makefile
	@echo "building kubelogin" >&2
	@GOBIN=$(BIN) $(GO) install $(KUBELOGIN)

# The Secrets Store CSI driver, for the tests of its provider, takes about two minutes.
CSIDRIVER := kube/secretsstore

$(BIN)/secrets-store-csi-driver: $(wildcard $(CSIDRIVER)/go.* $(CSIDRIVER)/mlog/*)
	@echo "building the Secrets Store CSI driver" >&2
	@$(GO) build -C $(CSIDRIVER) -trimpath -ldflags='-s -w' -o $@ sigs.k8s.io/secrets-store-csi-driver/cmd/secrets-store-csi-driver

# All of it: the rules of the tree, every package, and the real ones: kube-apiserver,
# kubectl, kubelogin, a browser, etcd under faults.
test: lint build $(BIN)/kubelogin $(BIN)/secrets-store-csi-driver $(JS)/node_modules
	$(GO) test -timeout 20m ./...
	cd test && $(GO) test -timeout 30m ./...
	$(MAKE) fuzz

# The SDK for JavaScript, which the tests run where there is npm.
$(JS)/node_modules: $(JS)/package-lock.json
	@if command -v npm >/dev/null; then cd $(JS) && npm ci --silent --no-audit --no-fund && touch node_modules; else echo "npm is not installed: the SDK for JavaScript is not tried" >&2; fi

# docs/compatibility.md, from a run of the tests that drive clients of others.
compat: build $(BIN)/kubelogin $(JS)/node_modules
	@notes=$$(mktemp) && trap 'rm -f $$notes' EXIT && cd test && GATEHOUSE_COMPAT=$$notes $(GO) test -count=1 -timeout 30m ./azure/... \
		&& $(GO) run ./compat <$$notes >$(CURDIR)/docs/compatibility.md

# What needs no binary but Go's.
test-fast:
	GATEHOUSE_KUBE= GATEHOUSE_BIN= GATEHOUSE_NODE= GATEHOUSE_KUBELOGIN= GATEHOUSE_CSIDRIVER= $(GO) test -short ./...

fuzz:
	@.ci/fuzz $(FUZZTIME)

bench: build
	cd test && $(GO) test -run '^$$' -bench . -benchmem ./bench/... ./nmi/...
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	cd test && $(GO) vet ./...
	cd examples/postgres && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -run . .

clean:
	rm -rf $(BIN)
