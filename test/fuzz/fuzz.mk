# The fuzzers. test/fuzz/proc_*.c reads what /proc may say, img_*.c what images
# may hold; each is linked with the rooms that it speaks of and those below.
#
#   make fuzz-short     every fuzzer for FUZZ_SECONDS (default: 5), from seeds
#   make fuzz           the same for an hour in all
#   make fuzz-replay    every input known so far, once; no new ones
#
# Seeds are recorded /proc trees and, for images, what a dump of our own wrote.
# What a fuzzer has found stays in the build folder's fuzz/corpus; an input that
# once broke something belongs in test/fuzz/corpus/NAME, for all.

FUZZ_SECONDS ?= 5
FUZZ_BUILD = $(BUILD)/fuzz
FUZZ_NAMES = $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/*.c))
FUZZ_MAKE = $(MAKE) --no-print-directory CC=clang BUILD=$(FUZZ_BUILD) CFLAGS="-O1 -g" \
	SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"

fuzzers:
	@$(FUZZ_MAKE) -s $(FUZZ_NAMES:%=$(FUZZ_BUILD)/bin/%)

fuzz-short: fuzzers
	@test/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_SECONDS) $(FUZZ_NAMES)

fuzz: fuzzers
	@test/fuzz/run.sh $(FUZZ_BUILD) $$((3600 / $(words $(FUZZ_NAMES)))) $(FUZZ_NAMES)

fuzz-replay: fuzzers
	@test/fuzz/run.sh $(FUZZ_BUILD) 0 $(FUZZ_NAMES)

# What the make started by `fuzzers` builds, with the flags that it was given.
$(BUILD)/bin/proc_%: test/fuzz/proc_%.c $(BUILD)/libproc.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -pie -o $@ $^ $(LIBS)

$(BUILD)/bin/img_%: test/fuzz/img_%.c $(BUILD)/libimages.a $(BUILD)/libproto.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -pie -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

.PHONY: fuzzers fuzz-short fuzz fuzz-replay
