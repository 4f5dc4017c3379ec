# Tests that try to do harm: kills, failing calls, full disks, tasks that vanish, bad images.
#   make check-fire       a short choice of them
#   make stress-fire      all; KILLS=N kills of each victim (default 250)
FIRE_BIN = $(TESTBIN)/fire
FIRE_PROGRAMS = $(addprefix $(FIRE_BIN)/,trap mover turner alarmed stranger lie grove victim judge victim-go)

$(FIRE_BIN)/trap $(FIRE_BIN)/mover $(FIRE_BIN)/turner $(FIRE_BIN)/alarmed $(FIRE_BIN)/stranger: $(FIRE_BIN)/%: test/fire/%.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

$(FIRE_BIN)/lie: test/fire/lie.c $(call below,images)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -pie -o $@ $< -Wl,--start-group $(call below,images) -Wl,--end-group $(LIBS)

$(FIRE_BIN)/grove: test/fire/grove.c test/rescue/report.h
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

$(FIRE_BIN)/victim $(FIRE_BIN)/judge: $(FIRE_BIN)/%: test/rescue/%.c test/rescue/report.h
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

$(FIRE_BIN)/victim-go: test/rescue/victim.go
	@mkdir -p $(@D)
	go build -o $@ $<

# The tools once more, with steps at which they can be made to die; rescue/ and restore/ use them too.
STEPS = $(BUILD)/steps

# They die by SIGKILL and would leave no counters.
step-programs: $(STEPS)/step.o
	@$(MAKE) --no-print-directory BUILD=$(STEPS) CFLAGS="-O2 -g -DRESCUE_STEPS" SANITIZE= \
		PROGRAM_LIBS="$(STEPS)/step.o $(PROGRAM_LIBS)" all >/dev/null

$(STEPS)/step.o: test/fire/step.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -fPIE -c -o $@ $<

fire-programs: $(FIRE_PROGRAMS) step-programs

check-fire: all test-programs fire-programs
	@BUILD=$(BUILD) test/check.sh fire

stress-fire: all test-programs fire-programs
	@BUILD=$(BUILD) test/check.sh stress-fire

.PHONY: fire-programs step-programs check-fire stress-fire
