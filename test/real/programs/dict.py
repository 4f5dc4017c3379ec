"""Threads that change one large dict in turns; every line printed depends on all before."""

import hashlib
import os
import random
import threading

THREADS = 4
ROUNDS = 100
SMALLER = int(os.environ.get("SMALLER", 1))
ENTRIES = 60000 // SMALLER
CHANGES = 9000 // SMALLER

table = {f"key {i}": {"value": i, "text": "x" * (i % 50)} for i in range(ENTRIES)}
digest = hashlib.sha256()
turn = threading.Condition()
whose = 0


def change(rng, me, number):
    for _ in range(CHANGES):
        entry = table[f"key {rng.randrange(ENTRIES)}"]
        entry["value"] = (entry["value"] * 31 + rng.randrange(1000)) % 1000003
    if number >= 10:
        del table[f"key {ENTRIES + number - 10}"]
    table[f"key {ENTRIES + number}"] = {"value": me, "text": "new"}
    total = sum(entry["value"] for entry in table.values())
    digest.update(f"{me} {total}".encode())
    print(number, me, digest.hexdigest(), flush=True)


def work(me):
    global whose
    rng = random.Random(me)
    for number in range(me, ROUNDS, THREADS):
        with turn:
            turn.wait_for(lambda: whose == me)
            change(rng, me, number)
            whose = (me + 1) % THREADS
            turn.notify_all()


threads = [threading.Thread(target=work, args=(i,), name=f"worker {i}") for i in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(table), digest.hexdigest(), flush=True)
