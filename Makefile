# criu-lite. `make` builds the programs; see README.md for the rest.
#
# A folder is a library: every .c below base/, proto/, images/ and each room of
# criu-lite/ goes into build/lib<room>.a, so that a lower room cannot call a
# higher one without the linker saying so in the unit tests.

BUILD	?= build
# One name, however it was given: by it the compiler notes which object needs which header.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))
OBJ	:= $(BUILD)/obj
PREFIX	?= /usr/local
DESTDIR	?=
VERSION	:= 0.1.0

CC	?= gcc
WARN	:= -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wshadow \
	   -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS	?= -O2 -g
PKGS	:= libprotobuf-c libbsd-overlay libxxhash jansson libcap
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -DSD_VERSION='"$(VERSION)"' $(WARN) $(CFLAGS) $(SANITIZE) \
	   -fPIE -I. -I$(BUILD) $(shell pkg-config --cflags $(PKGS))
LIBS	:= $(shell pkg-config --libs $(PKGS)) -pthread

# The programs are run again and again and end at once: finding and binding shared
# libraries took more time than many a dump. `make STATIC=` links with them as ever.
STATIC	?= $(if $(SANITIZE),,-static-pie)
PROGRAM_LIBS := $(if $(STATIC),$(shell pkg-config --static --libs $(PKGS)) -pthread,$(LIBS))

# Highest room first: the order in which the linker wants them.
ROOMS	:= criu-lite/cmd criu-lite/restore criu-lite/dump criu-lite/task criu-lite/file criu-lite/track \
	   criu-lite/remote criu-lite/arch/x86-64 criu-lite/proc images proto base
lib	= $(BUILD)/lib$(notdir $(1)).a

PROGRAM_SRC := $(wildcard criu-lite/cmd/sd-*.c) criu-lite/cmd/criu-lite.c
PROGRAMS := $(PROGRAM_SRC:criu-lite/cmd/%.c=$(BUILD)/%)
MANPAGES := $(patsubst Documentation/%.scd,$(BUILD)/%,$(wildcard Documentation/*.scd))

# Where objects were before build/obj: no program can have the name of such a folder.
ifneq ($(wildcard $(BUILD)/criu-lite/.),)
$(shell rm -rf $(BUILD)/criu-lite)
endif

all: $(PROGRAMS) $(MANPAGES)

# --- schemas ---------------------------------------------------------------
PROTOS	:= $(wildcard proto/*.proto)
PROTO_C	:= $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
PROTO_H	:= $(PROTO_C:.c=.h)

$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(BUILD) --proto_path=. $<

# --- rooms -----------------------------------------------------------------
room_src = $(filter-out $(PROGRAM_SRC),$(wildcard $(1)/*.c)) $(wildcard $(1)/*.S)
room_obj = $(patsubst %,$(OBJ)/%.o,$(basename $(call room_src,$(1)))) \
	   $(if $(filter proto,$(1)),$(PROTOS:%.proto=$(OBJ)/%.pb-c.o))

define ROOM
$(call lib,$(1)): $(call room_obj,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call ROOM,$(r))))
LIBFILES := $(foreach r,$(ROOMS),$(call lib,$(r)))

# The generated code is not ours to warn about.
$(OBJ)/proto/%.pb-c.o: $(BUILD)/proto/%.pb-c.c $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -w -c -o $@ $<

$(OBJ)/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# --- programs --------------------------------------------------------------
$(PROGRAMS): $(BUILD)/%: $(OBJ)/criu-lite/cmd/%.o $(LIBFILES)
	$(CC) $(ALL_CFLAGS) $(or $(STATIC),-pie) -o $@ $< -Wl,--start-group $(LIBFILES) -Wl,--end-group $(PROGRAM_LIBS)

$(BUILD)/%: Documentation/%.scd
	@mkdir -p $(@D)
	scdoc < $< > $@

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(MANPAGES) $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
include test/test.mk

.PHONY: all install clean
.DELETE_ON_ERROR:
.SECONDARY:
