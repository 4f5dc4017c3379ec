# The tests. A unit test is test/unit/ROOM/NAME.c: one cmocka program, linked
# with its room and the rooms below it only.

TEST_LIBS = $(shell pkg-config --libs cmocka)

# $(call below,ROOM): the libraries of ROOM (a last path component) and of all rooms after it
below = $(shell found=; for r in $(notdir $(ROOMS)); do \
	[ $$r = $(1) ] && found=1; [ -n "$$found" ] && echo $(BUILD)/lib$$r.a; done)

define UNIT
UNIT_$(1) := $$(patsubst test/unit/$(1)/%.c,$$(BUILD)/test/unit/$(1)/%,$$(wildcard test/unit/$(1)/*.c))
UNITS += $$(UNIT_$(1))
$$(UNIT_$(1)): $$(BUILD)/test/unit/$(1)/%: test/unit/$(1)/%.c $$(call below,$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -pie -o $$@ $$< -Wl,--start-group $$(call below,$(1)) -Wl,--end-group $$(LIBS) $$(TEST_LIBS)
endef
$(foreach r,$(notdir $(ROOMS)),$(eval $(call UNIT,$(r))))

units: $(UNITS)

# The document that is made of a table in the code; the same unit test compares them.
compat: $(BUILD)/test/unit/cmd/criu_compat
	$< print >Documentation/criu-compat.md

# --- test programs ---------------------------------------------------------
# No sanitizer and no pkg-config: what is checkpointed is an ordinary program.
VICTIM_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARN) $(filter -Werror,$(CFLAGS)) -O1 -g -I. -pthread
TESTBIN	= $(BUILD)/test
VICTIMS	= $(wildcard test/victims/*.c)
TOOLS	= $(TESTBIN)/run $(TESTBIN)/nsinit $(TESTBIN)/without $(TESTBIN)/peak $(TESTBIN)/held $(TESTBIN)/soft-dirty $(TESTBIN)/adopt

$(TESTBIN)/run $(TESTBIN)/nsinit $(TESTBIN)/without $(TESTBIN)/peak $(TESTBIN)/held: $(TESTBIN)/%: test/lib/%.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

$(TESTBIN)/soft-dirty $(TESTBIN)/adopt: $(TESTBIN)/%: test/guest/%.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

$(TESTBIN)/victim: $(VICTIMS) $(wildcard test/victims/*.h)
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $(VICTIMS)

$(TESTBIN)/i386: test/victims/i386.S
	@mkdir -p $(@D)
	$(CC) -m32 -nostdlib -static -o $@ $<

test-programs: $(TOOLS) $(TESTBIN)/victim $(TESTBIN)/i386 $(TESTBIN)/bench-victim

# --- suites ------------------------------------------------------------------
deps-test:
	@scripts/install-deps test

# What is missing may be what make itself needs to know, so make starts anew.
check: deps-test
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all units test-programs fire-programs >/dev/null
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) sanitized-programs fuzz-programs
	@BUILD=$(BUILD) test/check.sh $(SUITES)

stress: all test-programs fire-programs
	@BUILD=$(BUILD) test/check.sh stress load stress-fire stress-guest
	@$(MAKE) --no-print-directory BUILD=$(BUILD) check-guest

lint:
	@BUILD=$(BUILD) test/check.sh lint

demo:
	@scripts/install-deps build
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all >/dev/null
	@BUILD=$(BUILD) scripts/demo

# --- sanitizers --------------------------------------------------------------
SANITIZERS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

sanitized-programs:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize SANITIZE="$(SANITIZERS)" CFLAGS="-O1 -g" all units test-programs >/dev/null

sanitize: all test-programs sanitized-programs
	@BUILD=$(BUILD) test/check.sh sanitized

# --- coverage ------------------------------------------------------------------
# What the suites reach of criu-lite/ and images/, by gcov: a line a file, then all.
# Lines that only tasks run which never return to exit(3) are in coverage-exceptions.
COVERAGE_SUITES ?= units victims chain criu-lite trackers fire

coverage-programs:
	+@$(MAKE) --no-print-directory BUILD=$(BUILD)/coverage CFLAGS="-O0 -g" \
		SANITIZE="--coverage -include test/lib/coverage.h" \
		all units test-programs fire-programs >/dev/null

# Where every write is made to fail, those of the counters do, too: that is not to be heard.
coverage: coverage-programs
	@find $(BUILD)/coverage -name '*.gcda' -delete
	-@GCOV_ERROR_FILE=/dev/null BUILD=$(BUILD)/coverage test/check.sh $(COVERAGE_SUITES)
	@test/coverage.py $(BUILD)/coverage

include test/fuzz/fuzz.mk
include test/guest/guest.mk
include test/fire/fire.mk
include test/bench/bench.mk

.PHONY: coverage coverage-programs units compat test-programs deps-test check stress lint demo sanitize sanitized-programs
