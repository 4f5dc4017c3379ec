# All victims, two tools: sd-dump and criu each restore what the other dumped, and
# crit decodes every file. GUEST_ONLY=PATTERN takes some of the cases.
GUEST_LIMIT ?= 3000

check-guest: all test-programs
	@BUILD=$(BUILD) GUEST_LIMIT=$(GUEST_LIMIT) test/guest/check.sh '$(GUEST_ONLY)'

.PHONY: check-guest
