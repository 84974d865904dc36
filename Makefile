# outboxd: build, test, install. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
PKG_CONFIG ?= pkg-config
VERSION := $(shell sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)

# ---- flags -------------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wformat=2 -Wstrict-prototypes \
        -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wcast-qual -Wvla \
        -Wnull-dereference -Wdouble-promotion -Wimplicit-fallthrough
ifneq ($(findstring clang,$(CC)),)
WARN += -Wno-gnu-statement-expression -Wno-gnu-zero-variadic-macro-arguments
endif
ifdef CI
WARN += -Werror
endif
OBJCOPY ?= objcopy
OPT ?= -O2 -g
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
HARDEN_LD := -pie -Wl,-z,relro,-z,now
ifdef SAN
# Sanitized objects live beside the others. The tests run unchanged.
override BUILD := $(BUILD)/san
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
HARDEN := -fPIE
HARDEN_LD := -pie -fsanitize=address,undefined
endif
LIBS_PC := libpq rdkafka libevent_core jansson yaml-0.1
CPPFLAGS += -D_GNU_SOURCE -DOUTBOXD_VERSION='"$(VERSION)"' -Isrc -Iinclude
CFLAGS   += -std=c11 $(OPT) $(HARDEN) -fno-common $(WARN)
# Only asked for when something is built: the packages may not be there before `make deps`.
PC_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LIBS_PC) | sed 's/-I/-isystem /g')
PC_LIBS   = $(shell $(PKG_CONFIG) --libs $(LIBS_PC)) -lpthread -lm
LDFLAGS  += $(HARDEN_LD)

# ---- what is built: one archive per folder, linked in the order of the layers ---------------------------------------------
LAYERS := base message verify relay outbox kafka ops settings inbox app
lib_of  = $(BUILD)/lib$(1).a
srcs_of = $(wildcard src/$(1)/*.c)
objs_of = $(patsubst %.c,$(BUILD)/%.o,$(call srcs_of,$(1)))
# main() has an object of its own, so that tests can link all the rest
APP_MAIN := $(BUILD)/src/app/main.o
GEN_SQL  := $(BUILD)/gen/sql_texts.c

PROGRAM := $(BUILD)/outboxd
needs_base    := base
needs_message := message base
needs_verify  := verify message base
needs_relay   := relay message base
needs_outbox  := outbox relay message base
needs_kafka   := kafka relay message base
needs_ops     := ops relay message base
needs_settings := settings kafka relay message base
needs_inbox   := inbox kafka relay message base
needs_app     := app settings ops kafka outbox relay verify message base

# libinbox, for programs of others: position-independent objects of its own, and of what it needs from below. Only inbox_*
# can be seen from outside, in either form.
INBOX_SO  := $(BUILD)/inbox/libinbox.so.0
INBOX_LIB := $(BUILD)/inbox/libinbox.a
INBOX_SRCS := $(wildcard src/inbox/*.c) $(addprefix src/,base/clock.c base/err.c base/log.c base/str.c \
              message/event.c message/json_scan.c message/time.c kafka/config.c)
INBOX_OBJS := $(patsubst %.c,$(BUILD)/pic/%.o,$(INBOX_SRCS))
INBOX_LIBS  = $(shell $(PKG_CONFIG) --libs libpq rdkafka) -lpthread
CONSUMER   := $(BUILD)/deploy/examples/inbox/consumer

# ---- the example's services (deploy/example): built as anybody would, with the public header and the library
EXAMPLE_DIR  := $(BUILD)/deploy/example
EXAMPLE_BINS := $(addprefix $(EXAMPLE_DIR)/,order inventory payment notification sales rebuild)
EXAMPLE_PC   := libpq rdkafka libevent_extra libevent_core jansson
example_objs  = $(patsubst %,$(EXAMPLE_DIR)/services/%.o,$(1))

UNIT_SRCS := $(wildcard tests/unit/*/test_*.c)
UNIT_BINS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(UNIT_SRCS))
SIM_SRCS  := $(wildcard tests/sim/test_*.c)
SIM_BINS  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(SIM_SRCS)) $(BUILD)/tests/model/test_model
INT_SRCS  := $(wildcard tests/integration/test_*.c)
INT_BINS  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(INT_SRCS))
# the demo is one program of several files, beside the service that it drives
DEMO_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %/order_service.c,$(wildcard deploy/demo/*.c))) \
             $(BUILD)/tests/support/proc.o $(BUILD)/tests/support/tmp.o
# ---- the demo of the whole example: on the servers of the tests, without what of these wants cmocka ----
EXAMPLE_DEMO      := $(BUILD)/deploy/example/demo/demo
EXAMPLE_DEMO_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard deploy/example/demo/*.c)) \
                     $(patsubst %,$(BUILD)/deploy/demo/%.o,say postgres broker interrupt) \
                     $(patsubst %,$(BUILD)/tests/support/%.o,proc tmp loopback kafka kafka_admin kafka_acl proxy)
# writes the reference (deploy/docs, deploy/man, deploy/completion) from the program's own tables
GENERATE := $(BUILD)/deploy/docs/generate/main
GENERATE_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard deploy/docs/generate/*.c))
# the bench is one program of several files, beside those of which each is one
BENCH_SRCS := $(addprefix tests/bench/,bench.c calls.c drain.c fill.c floor.c latency.c numbers.c peers.c report.c same.c usage.c)
BENCH_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(BENCH_SRCS))
TOOL_SRCS := $(wildcard tests/tools/*.c) tests/bench/bench.c $(filter-out $(BENCH_SRCS),$(wildcard tests/bench/*.c)) \
             deploy/demo/demo.c deploy/demo/order_service.c \
             deploy/example/demo/demo.c \
             deploy/docs/generate/main.c
BENCH_BINS := $(patsubst %.c,$(BUILD)/%,tests/bench/bench.c $(filter-out $(BENCH_SRCS),$(wildcard tests/bench/*.c)))
TOOL_BINS := $(patsubst %.c,$(BUILD)/%,$(TOOL_SRCS))
# an archive, so that a tool takes from it only what it calls (some of it needs cmocka)
SUPPORT := $(BUILD)/libsupport.a
SUPPORT_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
SIM_OBJS     := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(SIM_SRCS),$(wildcard tests/sim/*.c)))

include tests/kafka.mk

.DEFAULT_GOAL := all
.PHONY: all deps demo demo-relay test chaos model lint format docs bench bench-peers bench-readme bench-guard bench-guard-update install uninstall clean help build-tests unit-programs
.SECONDARY:
.DELETE_ON_ERROR:

all: $(PROGRAM) $(INBOX_SO) $(INBOX_LIB) ## build outboxd and libinbox

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo "  variables: PREFIX DESTDIR BUILD CC; CI=1 makes warnings errors; SAN=1 builds with ASan and UBSan;"
	@echo "             make demo BROKERS=host:port uses your Kafka"

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PC_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(GEN_SQL): src/outbox/embed.sh $(wildcard sql/*/*.sql sql/*/down/*.sql src/outbox/sql/*.sql)
	@mkdir -p $(@D)
	sh src/outbox/embed.sh > $@

$(BUILD)/gen/sql_texts.o: $(GEN_SQL)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

define archive_rule
$(call lib_of,$(1)): $(filter-out $(APP_MAIN),$(call objs_of,$(1))) $(if $(filter outbox,$(1)),$(BUILD)/gen/sql_texts.o)
	@mkdir -p $$(@D)
	@rm -f $$@
	$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive_rule,$(l))))

$(PROGRAM): $(APP_MAIN) $(foreach l,$(needs_app),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@

$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PC_CFLAGS) $(CFLAGS) -fPIC -MMD -MP -c $< -o $@

$(INBOX_SO): $(INBOX_OBJS) src/inbox/libinbox.map
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -Wl,-soname,libinbox.so.0 -Wl,--version-script=src/inbox/libinbox.map \
		$(filter-out -pie,$(LDFLAGS)) $(if $(SAN),,-Wl,-z,defs) $(INBOX_OBJS) $(INBOX_LIBS) -o $@
	ln -sf libinbox.so.0 $(@D)/libinbox.so

$(INBOX_LIB): $(INBOX_OBJS)
	@mkdir -p $(@D)
	@rm -f $@
	$(LD) -r $^ -o $(@D)/all.o
	$(OBJCOPY) --wildcard --keep-global-symbol='inbox_*' $(@D)/all.o $(@D)/inbox.o
	$(AR) rcs $@ $(@D)/inbox.o

# As anybody would build it: the public header and the library.
$(CONSUMER): deploy/examples/inbox/consumer.c include/inbox.h $(INBOX_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Iinclude $(shell $(PKG_CONFIG) --cflags libpq | sed 's/-I/-isystem /g') $(LDFLAGS) $< $(INBOX_LIB) $(INBOX_LIBS) -o $@

$(EXAMPLE_DIR)/services/%.o: deploy/example/services/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -Iinclude $(shell $(PKG_CONFIG) --cflags $(EXAMPLE_PC) | sed 's/-I/-isystem /g') $(CFLAGS) -MMD -MP -c $< -o $@
$(EXAMPLE_DIR)/order: $(call example_objs,orders request)
$(EXAMPLE_DIR)/rebuild: $(call example_objs,fold)
$(EXAMPLE_BINS): $(EXAMPLE_DIR)/%: $(EXAMPLE_DIR)/services/%.o $(call example_objs,service) $(INBOX_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed $(filter %.o,$^) $(INBOX_LIB) $(shell $(PKG_CONFIG) --libs $(EXAMPLE_PC)) -lpthread -o $@

$(SUPPORT): $(SUPPORT_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

# A unit test links only its own layer and those below: the layers hold in the linker too.
define unit_rule
$(BUILD)/tests/unit/$(1)/%: $(BUILD)/tests/unit/$(1)/%.o $(foreach l,$(needs_$(1)),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $$^ $$(PC_LIBS) -lcmocka -o $$@
endef
$(foreach l,$(LAYERS),$(eval $(call unit_rule,$(l))))

$(BUILD)/tests/sim/%: $(BUILD)/tests/sim/%.o $(SIM_OBJS) $(foreach l,$(needs_relay),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ -lcmocka -o $@

$(BUILD)/tests/model/test_model: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/model/*.c)) $(call lib_of,base)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ -lcmocka -o $@

$(BUILD)/tests/integration/%: $(BUILD)/tests/integration/%.o $(SUPPORT) $(INBOX_LIB) $(foreach l,$(needs_app),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -lcmocka -o $@

# The demo uses these, too: nothing of tests/support, which wants cmocka.
$(BUILD)/tests/tools/%: $(BUILD)/tests/tools/%.o
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@

# A consumer as a process, for the fault tests of libinbox: linked as anybody would.
$(BUILD)/tests/tools/inbox_member: $(BUILD)/tests/tools/inbox_member.o $(INBOX_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(INBOX_LIBS) -o $@

$(BUILD)/tests/bench/bench: $(BENCH_OBJS) $(SUPPORT) $(foreach l,$(needs_app),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@

# Only what is pure: callgrind counts it.
$(BUILD)/tests/bench/guard: $(BUILD)/tests/bench/guard.o $(foreach l,$(needs_outbox),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@

$(BUILD)/tests/bench/bench_readme: $(BUILD)/tests/bench/numbers.o
$(BUILD)/tests/bench/bench_inbox: $(BUILD)/tests/bench/numbers.o $(BUILD)/tests/bench/usage.o
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(SUPPORT) $(INBOX_LIB) $(foreach l,$(needs_app),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -lcmocka -o $@

$(BUILD)/deploy/demo/demo: $(DEMO_OBJS) $(call lib_of,base)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@
$(EXAMPLE_DEMO): $(EXAMPLE_DEMO_OBJS) $(call lib_of,base)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@
# The service of the demo knows nothing of outboxd: libpq only.
$(BUILD)/deploy/demo/order_service: $(BUILD)/deploy/demo/order_service.o
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(shell $(PKG_CONFIG) --libs libpq) -lpthread -o $@

$(GENERATE): $(GENERATE_OBJS) $(foreach l,$(needs_app),$(call lib_of,$(l)))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PC_LIBS) -o $@

# ---- targets ----------------------------------------------------------------------------------------------------------------
# Unit tests and simulation always run under the sanitizers, the tests on real servers as outboxd is shipped (with SAN=1
# these, too, are sanitized).
ifdef SAN
TEST_BINS := $(UNIT_BINS) $(SIM_BINS) $(INT_BINS)
else
TEST_BINS := $(patsubst $(BUILD)/%,$(BUILD)/san/%,$(UNIT_BINS) $(SIM_BINS)) $(INT_BINS)
endif

unit-programs: $(UNIT_BINS) $(SIM_BINS)

build-tests: $(PROGRAM) $(INBOX_SO) $(CONSUMER) $(EXAMPLE_BINS) $(INT_BINS) $(TOOL_BINS) $(if $(SAN),$(UNIT_BINS) $(SIM_BINS))

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# What deploy/ holds for others, held by their tools; the packages are those of `make deb`, of a build without sanitizers.
DEPLOY_TESTS := tests/deploy/test_deploy $(if $(SAN),,tests/deploy/test_packages)
# Built in a make of its own, after the packages are there.
SUBMAKE = $(MAKE) --no-print-directory -s $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
.PHONY: demo-programs demo-relay-programs

deps: ## install what is missing from Debian, for building, demo and tests
	@sh deploy/install-deps.sh build demo test

.PHONY: example
example: $(PROGRAM) $(EXAMPLE_BINS) ## build the shop of deploy/example: four services, a read model, a fold of the events

demo-programs: $(PROGRAM) $(EXAMPLE_BINS) $(EXAMPLE_DEMO) kafka-lib

demo: ## orders through four services, killed at random, to a table that adds up; SEED=n, BROKERS=host:port
	@sh deploy/install-deps.sh build demo
	@echo "building outboxd, the services and the demo"
	@$(SUBMAKE) demo-programs
	@BUILD=$(BUILD) $(EXAMPLE_DEMO)

demo-relay-programs: $(PROGRAM) $(BUILD)/tests/tools/mock_broker $(BUILD)/deploy/demo/demo $(BUILD)/deploy/demo/order_service

demo-relay: ## the relay alone, orders from Postgres to Kafka through a crash of it; BROKERS=host:port
	@sh deploy/install-deps.sh build demo-relay
	@echo "building outboxd and the demo"
	@$(SUBMAKE) demo-relay-programs
	@$(BUILD)/deploy/demo/demo

test: ## build everything and prove it, on private servers; ends with "N passed, N failed"
	@sh deploy/install-deps.sh build demo test
	@echo "building outboxd and its tests"
	@$(SUBMAKE) build-tests kafka-lib jdbc-lib
	@$(if $(SAN),,$(SUBMAKE) SAN=1 unit-programs)
	+@$(if $(SAN),,$(SUBMAKE) deb)
	@BUILD=$(BUILD) OUTBOXD=$(abspath $(PROGRAM)) PYTHONDONTWRITEBYTECODE=1 tests/run $(TEST_BINS) $(DEPLOY_TESTS)

chaos: ## everything breaks at random for ten minutes; SEED=n repeats the faults, CHAOS_SECONDS=n, CHAOS_BROKERS=3
	@sh deploy/install-deps.sh build demo test
	@$(SUBMAKE) $(PROGRAM) kafka-lib $(BUILD)/tests/integration/test_chaos
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} BUILD=$(BUILD) OUTBOXD=$(abspath $(PROGRAM)) $(BUILD)/tests/integration/test_chaos

model: ## walk through some millions of states of the protocol
	@sh deploy/install-deps.sh build test
	@$(SUBMAKE) $(BUILD)/tests/model/test_model
	@MODEL=large $(BUILD)/tests/model/test_model

lint: ## formatting, clang-tidy, cppcheck, shellcheck, layers
	@sh deploy/install-deps.sh build test lint
	@LINT_CPPFLAGS='$(filter-out -DOUTBOXD_VERSION=%,$(CPPFLAGS)) $(PC_CFLAGS)' deploy/lint.sh

format: ## let clang-format write all C files
	@sh deploy/install-deps.sh lint
	@find src tests deploy include -name '*.[ch]' | xargs -r clang-format-14 -i

docs: ## write the reference anew from the tables in the code: pages, manuals, shell completion
	@$(SUBMAKE) $(GENERATE)
	@for f in $$($(GENERATE) --list); do \
		mkdir -p "$${f%/*}" && $(GENERATE) "$$f" > $(BUILD)/page && cat $(BUILD)/page > "$$f" || exit 1; done

bench: ## speed beside the floor, a table and build/bench.json; BENCH=quick or full, BENCH_CELLS='drain/*'
	@sh deploy/install-deps.sh build demo test
	@$(SUBMAKE) all kafka-lib $(BENCH_BINS) $(BUILD)/tests/tools/mock_broker
	@BUILD=$(BUILD) OUTBOXD=$(abspath $(PROGRAM)) $(BUILD)/tests/bench/bench

bench-peers: ## the same beside Debezium, whose jars Maven brings; only that: BENCH_CELLS='peers/*'
	@sh deploy/install-deps.sh build demo test
	@$(SUBMAKE) all kafka-lib peers-lib $(BENCH_BINS) $(BUILD)/tests/tools/mock_broker
	@BENCH_PEERS=1 BUILD=$(BUILD) OUTBOXD=$(abspath $(PROGRAM)) $(BUILD)/tests/bench/bench

bench-readme: ## the figures of the last `make bench` become the README's: writes README.md and tests/bench/figures.json
	@$(SUBMAKE) $(BUILD)/tests/bench/bench_readme
	@cp $(BUILD)/bench.json tests/bench/figures.json
	@$(BUILD)/tests/bench/bench_readme tests/bench/figures.json > $(BUILD)/figures.md
	@sed -i -e '/^<!-- figures/,/^<!-- end of figures/{//!d}' -e '/^<!-- figures/r $(BUILD)/figures.md' README.md

bench-guard: ## instructions per event of the pure path, against the agreed figure
	@sh deploy/install-deps.sh build test
	@$(SUBMAKE) $(BUILD)/tests/bench/guard
	@sh tests/bench/guard.sh $(BUILD)/tests/bench/guard

bench-guard-update: ## agree on the present figure: writes tests/bench/guard.txt
	@$(SUBMAKE) $(BUILD)/tests/bench/guard
	@sh tests/bench/guard.sh --update $(BUILD)/tests/bench/guard

bindir  := $(PREFIX)/bin
datadir := $(PREFIX)/share/outboxd
docdir  := $(PREFIX)/share/doc/outboxd
unitdir := $(PREFIX)/lib/systemd/system
mandir  := $(PREFIX)/share/man
bashdir := $(PREFIX)/share/bash-completion/completions
zshdir  := $(PREFIX)/share/zsh/site-functions
fishdir := $(PREFIX)/share/fish/vendor_completions.d

libdir  := $(PREFIX)/lib
incdir  := $(PREFIX)/include
# the unit of one relay, or the template of several: its name, and that of its files in /etc/outboxd
unit_text = sed -e 's|@BINDIR@|$(bindir)|' -e 's|@DOCDIR@|$(docdir)|' -e 's|@UNIT@|$(1)|' -e 's|@FILE@|$(2)|' deploy/systemd/outboxd.service

install: all ## install to DESTDIR/PREFIX: program, libinbox, SQL, unit, manuals, completion, alerts, dashboard, documents
	install -d $(addprefix $(DESTDIR),$(bindir) $(datadir)/sql/outbox/down $(datadir)/sql/inbox/down $(datadir)/prometheus $(datadir)/grafana \
		$(docdir) $(unitdir) $(mandir)/man3 $(mandir)/man5 $(mandir)/man8 $(bashdir) $(zshdir) $(fishdir) $(libdir)/pkgconfig $(incdir))
	install -m 755 $(PROGRAM) $(DESTDIR)$(bindir)/outboxd
	install -m 644 sql/outbox/*.sql $(DESTDIR)$(datadir)/sql/outbox
	install -m 644 sql/outbox/down/*.sql $(DESTDIR)$(datadir)/sql/outbox/down
	install -m 644 sql/inbox/*.sql $(DESTDIR)$(datadir)/sql/inbox
	install -m 644 sql/inbox/down/*.sql $(DESTDIR)$(datadir)/sql/inbox/down
	install -m 644 LICENSE README.md CHANGELOG.md config/outboxd.yaml $(DESTDIR)$(docdir)
	install -m 644 $(addprefix deploy/docs/,runbook.md settings.md metrics.md exit-codes.md) $(DESTDIR)$(docdir)
	install -m 644 deploy/prometheus/*.yml $(DESTDIR)$(datadir)/prometheus
	install -m 644 deploy/grafana/outboxd.json $(DESTDIR)$(datadir)/grafana
	install -m 644 deploy/man/outboxd.8 $(DESTDIR)$(mandir)/man8
	install -m 644 deploy/man/outboxd.yaml.5 $(DESTDIR)$(mandir)/man5
	install -m 644 deploy/completion/outboxd.bash $(DESTDIR)$(bashdir)/outboxd
	install -m 644 deploy/completion/_outboxd $(DESTDIR)$(zshdir)/_outboxd
	install -m 644 deploy/completion/outboxd.fish $(DESTDIR)$(fishdir)/outboxd.fish
	install -m 755 $(INBOX_SO) $(DESTDIR)$(libdir)/libinbox.so.0
	ln -sf libinbox.so.0 $(DESTDIR)$(libdir)/libinbox.so
	install -m 644 $(INBOX_LIB) $(DESTDIR)$(libdir)/libinbox.a
	install -m 644 include/inbox.h $(DESTDIR)$(incdir)/inbox.h
	install -m 644 deploy/man/inbox.3 $(DESTDIR)$(mandir)/man3/inbox.3
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(libdir)|' -e 's|@VERSION@|$(VERSION)|' src/inbox/inbox.pc.in \
		> $(DESTDIR)$(libdir)/pkgconfig/inbox.pc
	chmod 644 $(DESTDIR)$(libdir)/pkgconfig/inbox.pc
	$(call unit_text,outboxd,outboxd) > $(DESTDIR)$(unitdir)/outboxd.service
	$(call unit_text,outboxd@%i,%i) > $(DESTDIR)$(unitdir)/outboxd@.service
	chmod 644 $(DESTDIR)$(unitdir)/outboxd.service $(DESTDIR)$(unitdir)/outboxd@.service

# ---- Debian packages (needs dpkg-dev; neither network nor root) ----
.PHONY: deb
deb: ## build the Debian packages outboxd, libinbox0 and libinbox-dev, in BUILD/deb
	@sh deploy/install-deps.sh build deb
	+@$(SUBMAKE) all
	@rm -rf $(BUILD)/deb
	@$(MAKE) --no-print-directory -s install DESTDIR=$(abspath $(BUILD))/deb/root PREFIX=/usr libdir=/usr/lib/$$(dpkg-architecture -qDEB_HOST_MULTIARCH) \
		zshdir=/usr/share/zsh/vendor-completions
	@sh deploy/deb/build.sh $(BUILD)/deb/root $(VERSION) $(BUILD)/deb
	@rm -rf $(BUILD)/deb/root

uninstall: ## remove what install put there; /etc/outboxd stays
	rm -f $(addprefix $(DESTDIR),$(bindir)/outboxd $(unitdir)/outboxd.service $(unitdir)/outboxd@.service $(mandir)/man8/outboxd.8 \
		$(mandir)/man5/outboxd.yaml.5 $(bashdir)/outboxd $(zshdir)/_outboxd $(fishdir)/outboxd.fish)
	rm -f $(DESTDIR)$(libdir)/libinbox.a $(DESTDIR)$(libdir)/libinbox.so $(DESTDIR)$(libdir)/libinbox.so.0
	rm -f $(DESTDIR)$(incdir)/inbox.h $(DESTDIR)$(libdir)/pkgconfig/inbox.pc $(DESTDIR)$(mandir)/man3/inbox.3
	rm -rf $(DESTDIR)$(datadir) $(DESTDIR)$(docdir)

clean: ## remove everything that was built
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
