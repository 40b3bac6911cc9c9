# SPDX-License-Identifier: Apache-2.0
# The whole build. Needs only make and git to be read: compilers, pkg-config and libraries are looked for in recipes, after
# tests/services/deps has installed what is missing. `make help` lists the targets.
#
#   make test T=retry_policy           one test file          make test T=retry_policy/caps_at_max    one test
#   make CC=clang V=1                  another compiler, whole command lines
#   make test BUILD=/tmp/b SRC_DIRS="common/base common/json" T=strbuf      a part of the tree, into a folder of its own

VERSION  := 0.1.0
BUILD    ?= build
SRC_DIRS ?= common producers consumers workers cli
PREFIX   ?= /usr/local
DESTDIR  ?=
T        ?=
FUZZ_SECONDS ?= 60
VENV     ?= build/venv
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG    ?= clang-14
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

V ?= 0
Q   = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(2)')
DEPS = tests/services/deps

# ---- flags. `lazily` runs a command at the first use inside a recipe and remembers the answer.
lazily = $(eval $(1) := $(shell $(2)))$($(1))
PACKAGES := cjose libmicrohttpd gnutls jansson yaml-0.1 libcurl openssl sqlite3 libpq smartcols rdkafka librabbitmq libpcre2-8 libseccomp \
	libnghttp2 libprotobuf-c
PKG_CFLAGS = $(call lazily,PKG_CFLAGS,pkg-config --cflags $(PACKAGES))
PKG_LIBS   = $(call lazily,PKG_LIBS,pkg-config --libs $(PACKAGES))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
CPPFLAGS_ALL = -I. -I$(BUILD)/gen/proto -D_GNU_SOURCE -DWINDLASS_VERSION='"$(VERSION)"' $(PKG_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL   = -std=gnu11 -g -pthread $(WARNINGS) $(CFLAGS)
LIBS         = $(PKG_LIBS) -lwslay -pthread -ldl -lm

# What the compiler takes of these is found out once per compiler; old ones go without.
HARDEN_TRY := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
	-ftrivial-auto-var-init=zero -Wbidi-chars=any -fno-delete-null-pointer-checks \
	-fno-strict-overflow -fno-strict-aliasing -fstrict-flex-arrays=3
HARDEN_CACHE = $(BUILD)/gen/harden-$(notdir $(firstword $(CC)))
HARDEN = $(call lazily,HARDEN,cat $(HARDEN_CACHE))
HARDEN_LINK := -Wl,-z,relro,-z,now,-z,noexecstack

# Variants: object folders of their own, the same sources.
DIR_release := $(BUILD)
DIR_test    := $(BUILD)/test
DIR_asan    := $(BUILD)/asan
DIR_ubsan   := $(BUILD)/ubsan
DIR_tsan    := $(BUILD)/tsan
DIR_fuzz    := $(BUILD)/fuzz
SANITIZED   := -O1 -fno-omit-frame-pointer -DWINDLASS_FAILPOINTS
FLAGS_release = -O2 $(HARDEN)
FLAGS_test    = -O2 $(HARDEN) -DWINDLASS_FAILPOINTS
FLAGS_asan    = $(SANITIZED) -fsanitize=address -Wno-error=maybe-uninitialized
FLAGS_ubsan   = $(SANITIZED) -fsanitize=undefined -fno-sanitize-recover=all -Wno-error=maybe-uninitialized
FLAGS_tsan    = $(SANITIZED) -fsanitize=thread -Wno-error=maybe-uninitialized -Wno-error=tsan
FLAGS_fuzz    = $(SANITIZED) -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LINK_release := -pie $(HARDEN_LINK)
LINK_test    := -pie $(HARDEN_LINK)
LINK_asan    := -fsanitize=address
LINK_ubsan   := -fsanitize=undefined
LINK_tsan    := -fsanitize=thread
LINK_fuzz    := -fsanitize=fuzzer,address,undefined
CC_fuzz       = $(CLANG)

# ---- sources
SRCS       := $(sort $(shell find $(wildcard $(SRC_DIRS)) -name '*.c' -not -path 'workers/jobs/*'))
PROTO_DIR  := producers/grpc/proto
PROTOS     := $(if $(filter producers,$(SRC_DIRS)),$(patsubst $(PROTO_DIR)/%.proto,%,$(sort $(shell find $(PROTO_DIR) -name '*.proto'))))
PROTO_C    := $(filter-out %/v1alpha/reflection.pb-c.c,$(PROTOS:%=$(BUILD)/gen/proto/%.pb-c.c)) $(if $(PROTOS),$(BUILD)/gen/proto/descriptors.c)
MIGRATIONS := $(sort $(wildcard common/store/migrations/*/*.sql))
JOB_SRCS   := $(wildcard workers/jobs/*.c)
JOB_FILES  := $(shell find workers/jobs -type f -not -name '*.c' -not -name '*.sh' -not -name '*.pyc' -not -name '.*')
TEST_SRCS  := $(sort $(shell find $(wildcard tests/unit tests/integration) -name '*_test.c'))
FAKE_SRCS  := $(sort $(shell find $(wildcard tests/unit tests/integration) -name '*.c' -not -name '*_test.c' -not -name select.c))
FUZZ_SRCS  := $(sort $(wildcard tests/fuzz/*_fuzz.c))
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
PY_SRCS    := $(sort $(shell find $(wildcard tests/scenario tests/integration tests/faults) -name 'test_*.py'))
# T=file or T=file/test: only the programs of that name; the binary when Python tests are wanted.
FILE       := $(firstword $(subst /, ,$(T)))
WANTED     := $(if $(T),$(filter %/$(FILE)_test.c,$(TEST_SRCS)),$(TEST_SRCS))
FUZZ_WANTED := $(if $(T),$(filter %/$(FILE)_fuzz.c,$(FUZZ_SRCS)),$(FUZZ_SRCS))
PY_WANTED  := $(if $(T),$(filter %/test_$(FILE).py %/$(FILE).py,$(PY_SRCS)),$(PY_SRCS))

# ---- one variant: $(1) its name, $(2) its folder
define variant
CC_$(1) ?= $$(CC)
COMPILE_$(1) = $$(CC_$(1)) $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $$(FLAGS_$(1))
OBJS_$(1)  := $(SRCS:%.c=$(2)/obj/%.o) $(2)/obj/migrations.o $(2)/obj/metaschemas.o \
	$(PROTO_C:$(BUILD)/gen/%.c=$(2)/obj/%.o)
JOBS_$(1)  := $(JOB_SRCS:workers/jobs/%.c=$(2)/jobs/%.so) $(JOB_FILES:workers/jobs/%=$(2)/jobs/%)
FUZZ_$(1)  := $(FUZZ_WANTED:tests/fuzz/%_fuzz.c=$(2)/tests/fuzz/%)
TESTS_$(1) := $(WANTED:tests/%.c=$(2)/tests/%) $$(FUZZ_$(1)) $$(if $(PY_WANTED),$(2)/windlass $$(JOBS_$(1)))

# Written anew only when the command line differs, so that objects follow CC and the flags.
$(2)/flags: FORCE $(HARDEN_CACHE)
	@mkdir -p $$(@D); echo '$$(COMPILE_$(1))' | cmp -s - $$@ || echo '$$(COMPILE_$(1))' > $$@
$(2)/objects: FORCE
	@mkdir -p $$(@D); echo '$$(OBJS_$(1))' | cmp -s - $$@ || echo '$$(OBJS_$(1))' > $$@

$(2)/obj/%.o: %.c $(2)/flags | deps-build
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D) && $$(COMPILE_$(1)) -fPIE -MMD -MP -c -o $$@ $$<
$(2)/obj/producers/gateway/probes.o: producers/gateway/openapi.json
$(2)/obj/producers/gateway/graphql.o: producers/graphql/schema.graphql
$(2)/obj/producers/graphql/types_build.o: producers/graphql/builtin.graphql
$(2)/obj/producers/gateway/pages.o: producers/gateway/client.js
$(2)/obj/producers/gateway/asyncapi.o: producers/gateway/asyncapi.json
$(2)/obj/migrations.o $(2)/obj/metaschemas.o: $(2)/obj/%.o: $(BUILD)/gen/%.c $(2)/flags | deps-build
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D) && $$(COMPILE_$(1)) -fPIE -MMD -MP -c -o $$@ $$<
$(2)/obj/proto/%.o: $(BUILD)/gen/proto/stamp $(2)/flags | deps-build
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D) && $$(COMPILE_$(1)) -fPIE -MMD -MP -c -o $$@ $(BUILD)/gen/proto/$$*.c
$$(filter $(2)/obj/producers/grpc/%,$$(OBJS_$(1))) $(patsubst %.c,$(2)/obj/%.o,$(filter tests/fuzz/grpc_% tests/bench/grpc_% tests/unit/producers/grpc/%,$(FUZZ_SRCS) $(BENCH_SRCS) $(TEST_SRCS))): \
	| $(BUILD)/gen/proto/stamp
$(2)/windlass: $$(OBJS_$(1)) $(BUILD)/gen/exports $(2)/objects
	$$(call say,LD,$$@)
	$$(Q)$$(CC_$(1)) $$(LINK_$(1)) -Wl,--dynamic-list=$(BUILD)/gen/exports $$(LDFLAGS) -o $$@ $$(OBJS_$(1)) $$(filter %/threads.o,$$^) $$(LIBS)
$(2)/windlass.a: $$(filter-out %/cli/main.o,$$(OBJS_$(1))) $(2)/objects | deps-build
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)
$(2)/fakes.a: $(FAKE_SRCS:%.c=$(2)/obj/%.o) $(2)/objects | deps-build
	$$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)

$(2)/jobs/%.so: workers/jobs/%.c $(2)/flags | deps-build
	$$(call say,SO,$$@)
	$$(Q)mkdir -p $$(@D) && $$(COMPILE_$(1)) -Iworkers/handlers -fPIC -MMD -MP \
		-MF $$(@:.so=.d) -shared $$(if $$(filter -pie,$$(LINK_$(1))),$$(HARDEN_LINK),$$(LINK_$(1))) -o $$@ $$<
$(2)/jobs/%: workers/jobs/%
	$$(Q)mkdir -p $$(@D) && cp -p $$< $$@

$(2)/obj/tests/%.o: tests/%.c $(2)/flags | deps-test
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D) && $$(COMPILE_$(1)) -fPIE -MMD -MP -c -o $$@ $$<
$(2)/tests/%_test: $(2)/obj/tests/%_test.o $(2)/obj/tests/unit/select.o $(2)/fakes.a $(2)/windlass.a
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC_$(1)) $$(LINK_$(1)) $$(LDFLAGS) -rdynamic -o $$@ $$(filter %.o %.a,$$^) $$(LIBS) -lcmocka
$(2)/tests/fuzz/%: $(2)/obj/tests/fuzz/%_fuzz.o $(if $(filter fuzz,$(1)),,$(2)/obj/tests/fuzz/replay.o) $(2)/windlass.a
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC_$(1)) $$(LINK_$(1)) $$(LDFLAGS) -rdynamic -o $$@ $$(filter %.o %.a,$$^) $$(LIBS)
$(2)/bench/%: $(2)/obj/tests/bench/%.o $(2)/windlass.a
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC_$(1)) $$(LINK_$(1)) $$(LDFLAGS) -o $$@ $$(filter %.o %.a,$$^) $$(LIBS)
-include $$(OBJS_$(1):.o=.d) $$(patsubst %.c,$(2)/obj/%.d,$(TEST_SRCS) $(FAKE_SRCS) $(FUZZ_SRCS) $(BENCH_SRCS))
-include $$(JOB_SRCS:workers/jobs/%.c=$(2)/jobs/%.d)
.SECONDARY: $$(patsubst %.c,$(2)/obj/%.o,$(TEST_SRCS) $(FUZZ_SRCS) $(BENCH_SRCS) tests/unit/select.c tests/fuzz/replay.c)
endef
$(foreach v,release test asan ubsan tsan fuzz,$(eval $(call variant,$(v),$(DIR_$(v)))))

$(DIR_tsan)/windlass $(TESTS_tsan): $(DIR_tsan)/obj/tests/tsan/threads.o

$(HARDEN_CACHE): Makefile | deps-build
	$(Q)mkdir -p $(@D); for flag in $(HARDEN_TRY); do \
		$(CC) -Werror -O2 $$flag -x c -c -o /dev/null /dev/null 2>/dev/null && printf '%s ' $$flag; done > $@; true
$(BUILD)/gen/metaschemas.c: common/schema/embed | deps-build
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && common/schema/embed > $@
$(BUILD)/gen/migrations.c: $(MIGRATIONS) common/store/migrations/embed
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && common/store/migrations/embed $(MIGRATIONS) > $@
# All at once: the messages' C and, for the reflection service, what the files say.
$(BUILD)/gen/proto/stamp: $(PROTOS:%=$(PROTO_DIR)/%.proto) $(PROTO_DIR)/describe | deps-build
	$(call say,GEN,$(@D))
	$(Q)mkdir -p $(@D) && protoc-c -I$(PROTO_DIR) --c_out=$(@D) --descriptor_set_out=$(@D)/descriptors $(PROTOS:%=%.proto)
	$(Q)$(PROTO_DIR)/describe $(@D)/descriptors > $(@D)/descriptors.c && touch $@
$(BUILD)/gen/exports: Makefile
	$(Q)mkdir -p $(@D) && echo '{ wl_*; };' > $@

# ---- what people call
.PHONY: all run check test asan ubsan tsan lint fmt bench faults fuzz sbom install clean help objects deps deps-build deps-test jars venv FORCE

all: $(BUILD)/windlass $(JOBS_release) ## build build/windlass and the example jobs
run: all ## build and start everything on 127.0.0.1:8080 with SQLite and the example jobs
	@workers/jobs/demo.sh $(BUILD)
check: $(TESTS_test) venv ## the tests that need no server, under a minute
	@$(VENV)/bin/python tests/run --build $(BUILD)/test --suites unit,fuzz,scenario --no-servers $(if $(T),--only '$(T)')
test: $(TESTS_test) venv jars ## all tests; T=file or T=file/test selects
	@$(VENV)/bin/python tests/run --build $(BUILD)/test $(if $(T),--only '$(T)',--again)
asan ubsan tsan: %: $(BUILD)/%/all-tests venv ## unit and scenario tests under a sanitizer
	@$(VENV)/bin/python tests/run --build $(BUILD)/$@ --suites unit,integration,fuzz,scenario $(if $(T),--only '$(T)')
faults: $(BUILD)/test/windlass $(JOBS_test) venv jars ## the fault matrix in its long form, ends in a table
	@$(VENV)/bin/python tests/run --build $(BUILD)/test --suites faults --long $(if $(T),--only '$(T)')
bench: all $(BENCH_SRCS:tests/bench/%.c=$(BUILD)/bench/%) venv ## speed beside its limits: a table and JSON; PEERS=1 fetches peers, QUICK=1
	@$(VENV)/bin/python tests/bench/run --build $(BUILD) $(if $(PEERS),--peers) $(if $(QUICK),--quick) $(if $(T),--only '$(T)')
fuzz: $(FUZZ_fuzz) ## every fuzzer for FUZZ_SECONDS (60)
	@tests/fuzz/run $(BUILD)/fuzz/tests/fuzz $(FUZZ_SECONDS) $(T)
lint: deps-lint $(BUILD)/gen/proto/stamp ## include arrows, headers alone, function length, banned calls, format, clang
	@tests/lint/lint --build $(BUILD) --flags "$(CPPFLAGS_ALL) $(CFLAGS_ALL)"
fmt: deps-lint ## lay out every C file by .clang-format
	@tests/lint/fmt
sbom: $(BUILD)/windlass ## the packages, with versions, that the program is made of, as CycloneDX JSON
	@tests/services/sbom $(BUILD)/windlass
install: all ## into PREFIX (/usr/local), under DESTDIR
	$(Q)tests/services/install $(BUILD) '$(DESTDIR)' '$(PREFIX)' '$(VERSION)'
clean: ## remove what was built, but not the Python tools
	@rm -rf $(filter-out $(VENV),$(wildcard $(BUILD)/*))
deps: deps-build deps-test jars venv ## install what building and testing need: packages, Python tools, Java servers
help: ## this list
	@grep -hE '^[a-z][a-z ]*:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z ]+):.*## (.*)/  \1\t\2/' | expand -t 24

# Compiles everything, links nothing: for lint, and to see all errors at once with `make -k objects`.
objects: $(OBJS_release) $(JOBS_release) $(patsubst %.c,$(BUILD)/obj/%.o,$(TEST_SRCS) $(FAKE_SRCS) $(FUZZ_SRCS) $(BENCH_SRCS))
$(BUILD)/asan/all-tests: $(TESTS_asan)
$(BUILD)/ubsan/all-tests: $(TESTS_ubsan)
$(BUILD)/tsan/all-tests: $(TESTS_tsan)
.PHONY: $(foreach v,asan ubsan tsan,$(BUILD)/$(v)/all-tests) deps-lint deps-fuzz
$(FUZZ_SRCS:%.c=$(BUILD)/fuzz/obj/%.o) $(OBJS_fuzz): | deps-fuzz

deps-build:
	@$(DEPS) build
deps-test: deps-build
	@$(DEPS) test
deps-lint deps-fuzz: deps-%: deps-build
	@$(DEPS) $*
jars: | deps-test
	@tests/services/jars/fetch kafka sqs >/dev/null
venv: $(VENV)/stamp
$(VENV)/stamp: tests/requirements.txt | deps-test
	@echo '  VENV  $(VENV)'
	$(Q)python3 -m venv $(VENV) && $(VENV)/bin/pip install -q --disable-pip-version-check -r $< && touch $@
