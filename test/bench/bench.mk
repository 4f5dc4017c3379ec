# make bench: how long it takes; see test/bench/bench.py

$(TESTBIN)/bench-victim: test/bench/victim.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CFLAGS) -o $@ $<

bench: all $(TESTBIN)/nsinit $(TESTBIN)/bench-victim
	@BUILD=$(abspath $(BUILD)) $(TESTBIN)/nsinit python3 test/bench/bench.py $(ROWS)

.PHONY: bench
