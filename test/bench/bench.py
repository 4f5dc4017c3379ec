"""How long a checkpoint takes, and how long its task stands still.

bench.py [ROW...]    all rows, or those named: small memory threads vmas processes
                     descriptors increment reserve
Environment: BUILD, RUNS (7, after one run to warm up), SCRATCH (/dev/shm), CRIU (a
criu binary to measure on the same victims), SMALL=1 (leave out the largest of each row).

Each value is printed as median (least - most). Results go to results.json in OUT
(BUILD/bench), plots to *.svg beside it. Wall times are those of the whole program, start included;
"processor" is what it used of all processors, which a busy machine changes least.

The machine's own limits are measured again before each row, because they change: on a
virtual machine memory that was free for a while is given back to the host, and the first
touch then costs ten times as much. "frozen" and "longest gap" are of one dump while the
victim looks at the clock all the time; the other dumps have the machine for themselves.
"""
import json
import mmap
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from plot import plot

BUILD = os.environ["BUILD"]
RUNS = int(os.environ.get("RUNS", 7))
CRIU = os.environ.get("CRIU")
SCRATCH = os.environ.get("SCRATCH", "/dev/shm")
VICTIM = f"{BUILD}/test/bench-victim"
OUT = os.environ.get("OUT", f"{BUILD}/bench")

# row: (state of the victim, sizes, unit)
GROWING = {
    "small": ("threads", [1], "thread"),
    "memory": ("memory", [16, 64, 256, 1024], "MiB"),
    "threads": ("threads", [1, 10, 100, 1000], "threads"),
    "vmas": ("vmas", [100, 1000, 5000, 20000], "VMAs"),
    "processes": ("processes", [1, 10, 50, 200], "processes"),
    "descriptors": ("descriptors", [10, 100, 1000, 15000], "descriptors"),
}
# Pages written between two checkpoints of 1 GiB: 0.1 % to 10 %.
DIRTY = [262, 2621, 26214]


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench: waited {seconds} s for {what}")
        time.sleep(0.001)


class Took:
    """Of one run, in microseconds."""

    def __init__(self, wall, usage):
        self.wall = wall * 1e6
        self.processor = (usage.ru_utime + usage.ru_stime) * 1e6

    def of(self, what):
        return {what: self.wall, f"{what} processor": self.processor}


def run(*argv):
    """Runs argv to its end; (Took, what it printed)."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrong:
        begun = time.monotonic()
        # Not through a pipe: whoever stays in the background would hold it open.
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=wrong)
        _, status, usage = os.wait4(child.pid, 0)
        took = Took(time.monotonic() - begun, usage)
        child.returncode = rc = os.waitstatus_to_exitcode(status)
        said.seek(0)
        wrong.seek(0)
        if rc:
            sys.exit(f"bench: {' '.join(argv)}: exit status {rc}: {wrong.read().decode()}")
        return took, said.read()


def remove(path):
    shutil.rmtree(path, ignore_errors=True)


class Victim:
    """One task in the state asked for, and the page that it shares with us."""
    FIELDS = {"ready": 0, "dirty": 8, "gap": 16, "spin": 24}

    def __init__(self, state, n):
        self.dir = tempfile.mkdtemp(prefix="bench-", dir=SCRATCH)
        with open(f"{self.dir}/ctl", "w+b") as f:
            f.truncate(4096)
            self.ctl = mmap.mmap(f.fileno(), 4096)
        self.child = subprocess.Popen([VICTIM, state, str(n)], cwd=self.dir, start_new_session=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        self.pid = self.child.pid
        wait_for("the victim", lambda: self.get("ready") or self.child.poll() is not None)
        if self.child.poll() is not None:
            sys.exit(f"bench: victim {state} {n} ended with {self.child.returncode}")

    def get(self, field):
        return struct.unpack_from("Q", self.ctl, self.FIELDS[field])[0]

    def set(self, field, value):
        struct.pack_into("Q", self.ctl, self.FIELDS[field], value)

    def write(self, pages):
        self.set("dirty", pages)
        wait_for("written pages", lambda: self.get("dirty") == 0)

    def gone(self):
        if self.child:
            self.child.wait()
            self.child = None
        wait_for("the victim's end", lambda: not os.path.exists(f"/proc/{self.pid}"))

    def end(self):
        """Its children end with it: the whole session is its own."""
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.getsid(int(entry)) == self.pid:
                    os.kill(int(entry), signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.gone()
        remove(self.dir)


# --- the tools measured ---------------------------------------------------------


def dump(victim, name, *options):
    """(Took, what the tool says of itself)"""
    took, said = run(f"{BUILD}/sd-dump", "--json", "-D", f"{victim.dir}/{name}", *options,
                     str(victim.pid))
    return took, json.loads(said)


def watched(victim, name):
    """A dump while the victim looks at the clock: how long both say that it stood still."""
    victim.set("gap", 0)
    victim.set("spin", 1)
    wait_for("the victim's clock", lambda: victim.get("gap"))
    victim.set("gap", 0)
    took, made = dump(victim, name)
    gap = victim.get("gap") / 1000
    victim.set("spin", 0)
    return took, made, {"frozen": made["frozen_us"], "longest gap": gap}


def phases(made):
    return {f"  {k}": v for k, v in made["phases_us"].items()}


def ours(victim):
    for name in "abc":
        remove(f"{victim.dir}/{name}")
    _, _, still = watched(victim, "a")
    dumped, made = dump(victim, "b")
    dump(victim, "c", "--kill")
    victim.gone()
    restored, _ = run(f"{BUILD}/sd-restore", "-q", "-d", "-D", f"{victim.dir}/c")
    return {**dumped.of("dump"), **still, **restored.of("restore"), **phases(made)}


def criu(victim):
    images = f"{victim.dir}/c"

    def call(verb, *options):
        if verb == "dump":
            remove(images)
        os.makedirs(images, exist_ok=True)
        return run(CRIU, verb, "-D", images, *options)[0]

    dumped = call("dump", "-t", str(victim.pid), "-R")
    call("dump", "-t", str(victim.pid))
    victim.gone()
    return {**dumped.of("criu dump"), **call("restore", "-d").of("criu restore")}


def increment(victim, pages):
    victim.write(pages)
    took, made, still = watched(victim, "a")
    return {**took.of("dump"), **still, **phases(made)}


# --- rows -----------------------------------------------------------------------------


def repeat(measure):
    """name -> (median, least, most), all in microseconds"""
    measure()
    values = [measure() for _ in range(RUNS)]
    return {name: (statistics.median(v[name] for v in values), min(v[name] for v in values),
                   max(v[name] for v in values)) for name in values[0]}


def show(title, result):
    print(title)
    for name, (mid, least, most) in result.items():
        print(f"    {name:22} {mid / 1000:10.2f} ms  ({least / 1000:.2f} - {most / 1000:.2f})")
    sys.stdout.flush()


def growing(row):
    state, sizes, unit = GROWING[row]
    results = {}
    for n in sizes[:-1] if os.environ.get("SMALL") and len(sizes) > 1 else sizes:
        victim = Victim(state, n)
        results[n] = repeat(lambda: ours(victim))
        if CRIU:
            results[n].update(repeat(lambda: criu(victim)))
        victim.end()
        show(f"{row}: {n} {unit}", results[n])
        if state == "memory":
            for what in ("dump", "restore"):
                print(f"    {what:22} {n * 2**20 / results[n][what][0] / 1000:10.2f} GB/s")
                print(f"    {'  at the best':22} {n * 2**20 / results[n][what][1] / 1000:10.2f} GB/s")
    return results


def increments():
    results = {}
    victim = Victim("memory", 64 if os.environ.get("SMALL") else 1024)
    dump(victim, "a")
    for pages in DIRTY:
        results[pages] = repeat(lambda: increment(victim, pages))
        show(f"increment: {pages} pages written", results[pages])
    victim.end()
    return results


def reserve():
    """Arming and scanning a terabyte of which nearly nothing is there."""
    victim = Victim("reserve", 1000)
    dump(victim, "a")
    result = repeat(lambda: increment(victim, 0))
    victim.end()
    results = {1000: result}
    show("reserve: 1 TiB, 1,000 pages used, increment", results[1000])
    return results


def limits():
    result = {}
    for line in run(VICTIM, "limits")[1].decode().splitlines():
        name, unit, value = line.split()
        result[name] = f"{value} {unit}"
    return result


def series(results, names):
    return {name.strip(): [(n, *r[name]) for n, r in results.items() if r[name][1] > 0]
            for name in names if all(name in r for r in results.values())}


def draw(row, results):
    names = ["dump", "frozen", "restore", "criu dump", "criu restore"]
    unit = "pages written"
    if row == "increment":
        names = ["frozen", "longest gap"]
    else:
        unit = GROWING[row][2]
    in_ms = {k: [(x, *(v / 1000 for v in rest)) for x, *rest in row_]
             for k, row_ in series(results, names).items()}
    plot(f"{OUT}/{row}.svg", row, unit, "ms", in_ms)


def main():
    rows = sys.argv[1:] or [*GROWING, "increment", "reserve"]
    everything = {"runs": RUNS, "kernel": os.uname().release, "processors": os.cpu_count()}
    os.makedirs(OUT, exist_ok=True)
    os.chdir(SCRATCH)  # the limits write a file
    for row in rows:
        everything[f"{row} limits"] = here = limits()
        print(f"{row}: limits:", ", ".join(f"{k} {v}" for k, v in here.items()))
        results = {"increment": increments, "reserve": reserve}.get(row, lambda: growing(row))()
        everything[row] = results
        if row not in ("small", "reserve"):
            draw(row, results)
    with open(f"{OUT}/results.json", "w") as f:
        json.dump(everything, f, indent=1)
    print(f"results and plots: {OUT}")


main()
