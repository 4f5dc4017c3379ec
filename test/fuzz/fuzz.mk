# The fuzzers. test/fuzz/proc_*.c reads what /proc may say, img_*.c what images
# may hold, track_*.c what the keeper and hashes say, restore_*.c a whole
# checkpoint; each is linked with the rooms that it speaks of and those below.
#
#   test/check.sh fuzz  every fuzzer for FUZZ_SECONDS (default: 5), from all inputs known
#   make fuzz           the same for FUZZ_SECONDS in all (default: an hour), one after the other
#
# Seeds are recorded /proc trees and, for images, what dumps of victims wrote
# (seeds.sh). What a fuzzer has found stays in the build folder's fuzz/corpus; an
# input that once broke something belongs in test/fuzz/corpus/NAME, for all.

FUZZ_BUILD = $(BUILD)/fuzz
FUZZ_NAMES = $(patsubst test/fuzz/%.c,%,$(filter-out test/fuzz/pack.c,$(wildcard test/fuzz/*.c)))
FUZZ_MAKE = $(MAKE) --no-print-directory CC=clang BUILD=$(FUZZ_BUILD) CFLAGS="-O1 -g" \
	SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"

fuzz-programs: $(TESTBIN)/pack
	+@$(FUZZ_MAKE) -s $(FUZZ_NAMES:%=$(FUZZ_BUILD)/bin/%)

fuzz: all test-programs fuzz-programs
	@BUILD=$(BUILD) J=1 FUZZ_SECONDS=$$(($${FUZZ_SECONDS:-3600} / $(words $(FUZZ_NAMES)))) test/check.sh fuzz

$(TESTBIN)/pack: test/fuzz/pack.c test/fuzz/img_archive.h $(call below,images)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -pie -o $@ $< -Wl,--start-group $(call below,images) -Wl,--end-group $(LIBS)

# What the make started by `fuzz-programs` builds, with the flags that it was given.
# $(call FUZZER,PREFIX,ROOM): PREFIX_*.c with ROOM and the rooms below it
define FUZZER
$$(BUILD)/bin/$(1)_%: test/fuzz/$(1)_%.c test/fuzz/img_fuzz.h test/fuzz/img_archive.h $$(call below,$(2))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -fsanitize=fuzzer -pie -o $$@ $$< \
		-Wl,--start-group $$(call below,$(2)) -Wl,--end-group $$(LIBS)
endef
$(eval $(call FUZZER,proc,proc))
$(eval $(call FUZZER,img,images))
$(eval $(call FUZZER,track,track))
$(eval $(call FUZZER,restore,restore))

.PHONY: fuzz-programs fuzz
