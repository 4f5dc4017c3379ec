"""The terminal of a job started from a shell, dumped and restored on another one.

    BUILD=... CASE_DIR=... terminal.py CASE
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time

from shell import Terminal, fail, lives, reading, state, until

build, folder = os.environ["BUILD"], os.environ["CASE_DIR"]
chain, pidfile = folder + "/ckpt", folder + "/pid"
here = os.path.dirname(os.path.abspath(__file__))
program = [sys.executable, "-S", "-E", here + "/job.py"]


def check(is_so, text):
    if not is_so:
        fail(text)


def same(what, found, wanted):
    check(found == wanted, "%s: %r, not %r" % (what, found, wanted))


def dump(root, *options):
    done = subprocess.run([build + "/sd-dump", "-q", "-D", chain, *options, str(root)])
    same("exit status of sd-dump", done.returncode, 0)


def job_started(*options):
    """A job in the foreground of a terminal, that has said that it is ready."""
    t = Terminal(30, 90)
    pid = t.start(*program, "job", *options)
    t.expect("job ready\r?\n")
    return t, pid


def dumped_and_killed(t, pid):
    """Its modes then; only its shell is left."""
    modes = t.modes()
    dump(pid, "--kill")
    same("the job", t.wait(pid)[:2], ["killed", signal.SIGKILL])
    return modes


def restore_on(t, *options, **how):
    """Start sd-restore there; its pid, once what it restored runs."""
    pid = t.start(build + "/sd-restore", "--shell-job", "--pidfile", pidfile, *options, chain,
                  **how)
    t.expect("restored checkpoint .*\n", keep=True)
    return pid


def converse(t, name="job"):
    t.type("hello\n")
    t.expect(name + " heard hello\r?\n")


def place(t):
    t.type("where\n")
    found = t.expect(r"job (pid=.*)\n").group(1).split()
    return {key: int(value) for key, value in (word.split("=") for word in found)}


def ended(t, restorer, how, number):
    same("sd-restore", t.wait(restorer), [how, number, restorer])
    same("the terminal is with", t.foreground(), t.shell)


def case_goes_on():
    old, pid = job_started()
    modes = dumped_and_killed(old, pid)
    old.hang_up()
    t = Terminal(40, 132)
    restorer = restore_on(t)
    converse(t)
    same("modes", t.modes(), modes)
    with open(pidfile) as f:
        same("pid in the file", int(f.read()), pid)
    same("its place", place(t),
         {"pid": pid, "pgid": pid, "sid": t.shell, "fg": pid, "rows": 40, "cols": 132})
    same("the terminal is with", t.foreground(), pid)
    t.type("exit 7\n")
    ended(t, restorer, "exited", 7)
    check(not lives(pid), "the job is left")


def case_same_terminal():
    t, pid = job_started()
    modes = dumped_and_killed(t, pid)
    check(t.modes() != modes, "the shell has its modes back")
    restorer = restore_on(t)
    converse(t)
    same("modes", t.modes(), modes)
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def case_second_generation():
    t, pid = job_started()
    dumped_and_killed(t, pid)
    restorer = restore_on(t)
    converse(t)
    modes = t.modes()
    dump(pid, "--kill")
    same("sd-restore", t.wait(restorer)[:2], ["killed", signal.SIGKILL])
    restorer = restore_on(t)
    converse(t)
    same("modes", t.modes(), modes)
    t.type("exit 3\n")
    ended(t, restorer, "exited", 3)


def case_interrupt():
    old, pid = job_started()
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    reading(pid)
    t.type("\a")  # what the job had made of ^C
    t.expect("job SIGINT\n")
    same("it was interrupted once", t.text, "")
    reading(pid)
    os.kill(restorer, signal.SIGINT)
    t.expect("job SIGINT\n")
    t.type("exit 1\n")
    ended(t, restorer, "exited", 1)


def case_dies_of_interrupt():
    old, pid = job_started("cooked", "default")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    converse(t)
    t.type("\x03")
    ended(t, restorer, "killed", signal.SIGINT)
    check(not lives(pid), "the job is left")


def refused(t, text, status, *argv):
    pid = t.start(build + "/sd-restore", "--pidfile", pidfile, *argv, chain)
    same("sd-restore", t.wait(pid)[:2], ["exited", status])
    t.expect(text)
    same("the terminal is with", t.foreground(), t.shell)
    check(not os.path.exists(pidfile), "a pid file is left")


def case_without_shell_job():
    old, pid = job_started()
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    modes = t.modes()
    refused(t, "a job that had a terminal is restored with --shell-job only", 3)
    check(not lives(pid), "a task is left")
    same("modes", t.modes(), modes)


def case_without_terminal():
    old, pid = job_started()
    dumped_and_killed(old, pid)
    done = subprocess.run([build + "/sd-restore", "--shell-job", chain], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, start_new_session=True)
    same("exit status", done.returncode, 1)
    check(b"no terminal for the job (--shell-job)" in done.stderr, "it said %r" % done.stderr)
    check(not lives(pid), "a task is left")


def redirected_job():
    """It has descriptors of files only, but reaches the terminal of its session all the same."""
    t = Terminal(24, 80)
    os.mkfifo(folder + "/fifo")
    pid = t.start("sh", "-c", "read line <%s/fifo; echo heard $line >/dev/tty || echo none" % folder,
                  files=[(0, "/dev/null"), (1, folder + "/said"), (2, "/dev/null")])
    until(lambda: state(pid) == "S", "the job waits at the FIFO")
    dumped_and_killed(t, pid)
    t.hang_up()
    return pid


def say_hello():
    with open(folder + "/fifo", "w") as f:
        f.write("hello\n")


def case_no_descriptor():
    """It comes into the session of sd-restore, and so has that terminal."""
    redirected_job()
    t = Terminal(24, 80)
    restorer = restore_on(t)
    say_hello()
    t.expect("heard hello\r?\n")
    ended(t, restorer, "exited", 0)


def case_no_descriptor_no_job():
    """Its session is begun anew, and has no terminal, as sd-restore(1) says."""
    redirected_job()
    t = Terminal(24, 80)
    restorer = t.start(build + "/sd-restore", "--pidfile", pidfile, chain)
    t.expect("restored checkpoint .*\n")
    say_hello()
    same("sd-restore", t.wait(restorer)[:2], ["exited", 0])
    with open(folder + "/said") as f:
        same("it said", f.read(), "none\n")


def case_stop_and_go():
    old, pid = job_started()
    modes = dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    for _ in range(2):
        converse(t)
        reading(pid)
        t.type("\x1a")
        same("sd-restore", t.wait(restorer)[0], "stopped")
        same("the job", state(pid), "T")
        same("the terminal is with", t.foreground(), t.shell)
        t.ask("go_on", restorer, True)
        t.expect("job SIGCONT\r?\n")
        same("modes", t.modes(), modes)
    converse(t)
    same("the terminal is with", t.foreground(), pid)
    t.type("exit 4\n")
    ended(t, restorer, "exited", 4)


def case_background():
    """Restored with & it reads nothing, and takes the terminal from nobody."""
    old, pid = job_started()
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    modes = t.modes()
    restorer = restore_on(t, foreground=False)
    same("sd-restore", t.wait(restorer)[0], "stopped")
    same("the job", state(pid), "T")
    same("modes", t.modes(), modes)
    t.ask("go_on", restorer, False)
    t.expect("job SIGCONT\r?\n")
    same("sd-restore", t.wait(restorer)[:2], ["stopped", signal.SIGSTOP])
    t.ask("go_on", restorer, True)
    converse(t)
    t.type("exit 5\n")
    ended(t, restorer, "exited", 5)


def case_fg_without_signal():
    """A shell that has it in the background, running, brings it to the front and says nothing."""
    fifo = folder + "/fifo"
    os.mkfifo(fifo)
    old, pid = job_started("late=" + fifo)
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t, foreground=False)
    t.ask("front", restorer)
    with open(fifo, "w") as f:
        f.write("read\n")
    converse(t)
    same("the terminal is with", t.foreground(), pid)
    t.type("exit 5\n")
    ended(t, restorer, "exited", 5)


def case_ends_in_background():
    old, pid = job_started("default")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t, foreground=False)
    same("sd-restore", t.wait(restorer)[0], "stopped")
    os.kill(pid, signal.SIGINT)
    t.ask("go_on", restorer, False)
    same("sd-restore", t.wait(restorer), ["killed", signal.SIGINT, t.shell])


def case_reads_at_once():
    """It ignores SIGTTIN: were it in the background for an instant, its read would fail."""
    old, pid = job_started("ttin")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    converse(t)
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def case_tostop():
    """sd-restore has something to say while the job has the terminal."""
    old, pid = job_started()
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    t.ask("modes", termios.TOSTOP)
    restorer = restore_on(t)
    converse(t)
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def case_stopped_when_dumped():
    t, pid = job_started()
    t.type("\x1a")
    same("the job", t.wait(pid)[0], "stopped")
    dumped_and_killed(t, pid)
    restorer = restore_on(t)
    same("sd-restore", t.wait(restorer)[:2], ["stopped", signal.SIGSTOP])
    same("the job", state(pid), "T")
    t.ask("go_on", restorer, True)
    converse(t)
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def group_of(pgid):
    with os.scandir("/proc") as entries:
        pids = [int(e.name) for e in entries if e.name.isdigit()]
    return [p for p in pids if state(p) and os.getpgid(p) == pgid]


def pipeline_started(source=""):
    """Three tasks in the foreground: a shell, and two that it joined by a pipe."""
    t = Terminal(24, 80)
    words = " ".join(program)
    pid = t.start("sh", "-c", "trap : INT; %s front %s | %s back" % (words, source, words))
    t.expect("back heard front ready\r?\n")
    same("tasks of the job", len(group_of(pid)), 3)
    return t, pid


def pipeline_heard(t):
    t.expect("back heard front heard hello\r?\n")


def case_pipeline():
    old, pid = pipeline_started()
    old.type("hello\n")
    pipeline_heard(old)
    modes = dumped_and_killed(old, pid)
    old.hang_up()
    t = Terminal(24, 80)
    restorer = restore_on(t)
    t.type("hello\n")
    pipeline_heard(t)
    same("modes", t.modes(), modes)
    same("tasks of the job", len(group_of(pid)), 3)
    same("the terminal is with", t.foreground(), pid)
    reading(*[p for p in group_of(pid) if p != pid])
    t.type("\a")
    t.expect("back heard front SIGINT\r?\n")
    t.type("exit 7\n")
    ended(t, restorer, "exited", 7)
    same("tasks of the job", group_of(pid), [])


def case_pipeline_in_background():
    """Stopped by a key, then bg: all of it goes on, not just its root."""
    fifo = folder + "/fifo"
    os.mkfifo(fifo)
    into = os.open(fifo, os.O_RDWR)
    old, pid = pipeline_started("<>" + fifo)
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    os.write(into, b"hello\n")
    pipeline_heard(t)
    t.type("\x1a")
    same("sd-restore", t.wait(restorer)[0], "stopped")
    until(lambda: all(state(p) == "T" for p in group_of(pid)), "all of it stops")
    t.ask("go_on", restorer, False)
    os.write(into, b"hello\n")
    pipeline_heard(t)
    same("the terminal is with", t.foreground(), t.shell)
    os.write(into, b"exit 7\n")
    same("sd-restore", t.wait(restorer), ["exited", 7, t.shell])


def case_group_of_the_shell():
    """Its group is led by a neighbour that is no part of it: it comes into that of sd-restore."""
    old = Terminal(24, 80)
    leader = old.start("sleep", "1000")
    pid = old.start(*program, "job", group=leader)
    old.expect("job ready\r?\n")
    same("the terminal is with", old.foreground(), leader)
    dump(pid, "--kill")
    same("the job", old.wait(pid)[:2], ["killed", signal.SIGKILL])
    os.kill(leader, signal.SIGTERM)
    old.wait(leader)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    converse(t)
    found = place(t)
    same("group, foreground", (found["pgid"], found["fg"]), (restorer, restorer))
    reading(pid)
    t.type("\a")
    t.expect("job SIGINT\n")
    same("it was interrupted once", t.text, "")
    t.type("\x1a")
    same("sd-restore", t.wait(restorer)[0], "stopped")
    t.ask("go_on", restorer, True)
    converse(t)
    t.type("exit 6\n")
    ended(t, restorer, "exited", 6)


def case_detached():
    """Nobody stands in for it: in the background it may write, and leaves the terminal alone."""
    fifo = folder + "/fifo"
    os.mkfifo(fifo)
    into = os.open(fifo, os.O_RDWR)
    old = Terminal(24, 80)
    pid = old.start("sh", "-c", " ".join(program) + " job <>" + fifo + "; exit")
    old.expect("job ready\r?\n")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    modes = t.modes()
    restorer = restore_on(t, "--detach")
    ended(t, restorer, "exited", 0)
    same("modes", t.modes(), modes)
    with open(pidfile) as f:
        same("pid in the file", int(f.read()), pid)
    os.write(into, b"hello\n")
    t.expect("job heard hello\r?\n")
    os.write(into, b"exit 0\n")
    until(lambda: not lives(pid), "the job ends")


def case_detached_modes():
    """A shell that gets its terminal back at once wants it as it was."""
    old, pid = job_started("ttin")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    modes = t.modes()
    restorer = t.start(build + "/sd-restore", "--shell-job", "-d", chain)
    same("sd-restore", t.ask("wait_only", restorer), ["exited", 0, restorer])
    same("modes", t.modes(), modes)
    until(lambda: not lives(pid), "the job ends, as its read fails")


def case_new_size():
    """The terminal has another size now: a program that draws on it is told."""
    old, pid = job_started("winch")
    dumped_and_killed(old, pid)
    t = Terminal(50, 150)
    restorer = restore_on(t)
    t.type("hello\n")
    t.expect("job SIGWINCH\n")
    t.expect("job heard hello\n")
    reading(pid)
    t.resize(51, 151)
    t.expect("job SIGWINCH\n")
    same("size", [place(t)[key] for key in ("rows", "cols")], [51, 151])
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def case_inner_shell():
    """An interactive shell is the job, and what it runs has the terminal."""
    old = Terminal(24, 80)
    pid = old.start("env", "PS1=$ ", "bash", "--norc", "--noprofile", "--noediting", "-i")
    old.type(" ".join(program) + " job\n")
    old.expect("job ready\r?\n")
    inner = old.foreground()
    check(inner != pid, "it is in the group of its shell")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    converse(t)
    same("the terminal is with", t.foreground(), inner)
    reading(inner)
    t.type("\x1a")
    t.expect("Stopped")
    t.type("fg\n")
    t.expect("job SIGCONT\r?\n")
    converse(t)
    t.type("exit 3\n")
    until(lambda: t.foreground() == pid, "the inner shell has the terminal")
    t.type("exit $?\n")
    ended(t, restorer, "exited", 3)


def case_hang_up():
    old, pid = job_started("default")
    dumped_and_killed(old, pid)
    t = Terminal(24, 80)
    restorer = restore_on(t)
    converse(t)
    t.hang_up()
    until(lambda: not lives(pid) and not lives(restorer), "all of it ends with its terminal")


# --- progress ------------------------------------------------------------------------------

SIZE = 768  # MiB, which takes a while to save and to load


def enough_memory():
    with open("/proc/meminfo") as f:
        kib = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    if kib < 3 * SIZE << 10:
        print("SKIP: less than %d MiB of memory" % (3 * SIZE))
        sys.exit(77)


def second_over(pid, begun):
    """Held in the middle of its work until the second is over that it may be quiet for."""
    until(begun, "the work begins")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T", "it is held")
    end = time.monotonic() + 1.2
    until(lambda: time.monotonic() > end, "a second passes")
    os.kill(pid, signal.SIGCONT)


def dump_begun():
    return any("pages-1.img" in names and os.path.getsize(base + "/pages-1.img") > 4 << 20
               for base, _, names in os.walk(chain))


def restore_begun(pid):
    def resident():
        try:
            with open("/proc/%d/statm" % pid) as f:
                return int(f.read().split()[1]) * 4096 > 16 << 20
        except (FileNotFoundError, ProcessLookupError):
            return False
    return resident


def large_job():
    enough_memory()
    t, pid = job_started("size=%d" % SIZE)
    return t, pid


def case_progress():
    t, pid = large_job()
    t.type("\x1a")
    t.wait(pid)
    dumper = t.start(build + "/sd-dump", "--kill", "--tracker", "none", "-D", chain, pid)
    second_over(dumper, dump_begun)
    t.expect("\r\033\\[K[a-z, ]+: +[1-9][0-9]*( %)?")
    same("sd-dump", t.wait(dumper)[:2], ["exited", 0])
    same("the job", t.wait(pid)[:2], ["killed", signal.SIGKILL])
    t.read()
    check(re.search("\r\033\\[K[^\r]*/1: 1 task", t.text), "its line is cleared: %r" % t.text)
    t = Terminal(24, 80)
    restorer = t.start(build + "/sd-restore", "--shell-job", "--pidfile", pidfile, chain)
    second_over(restorer, restore_begun(pid))
    t.expect("\r\033\\[Kfilling memory: +[0-9]+ %")
    t.expect("\r\033\\[Krestored checkpoint")
    t.wait(restorer)
    t.ask("go_on", restorer, True)
    converse(t)
    t.type("exit 0\n")
    ended(t, restorer, "exited", 0)


def case_progress_unseen():
    """Nothing of it where stderr is no terminal, nor when it is but -q is there."""
    t, pid = large_job()
    said = folder + "/said"
    dumper = t.start(build + "/sd-dump", "--full", "--tracker", "none", "-D", chain, pid,
                     foreground=False, files=[[2, said]])
    second_over(dumper, dump_begun)
    same("sd-dump", t.wait(dumper)[:2], ["exited", 0])
    same("it said", open(said).read(), "")
    t.expect("/1: 1 task")
    shutil.rmtree(chain)
    dumper = t.start(build + "/sd-dump", "-q", "--tracker", "none", "-D", chain, pid,
                     foreground=False)
    second_over(dumper, dump_begun)
    same("sd-dump", t.wait(dumper)[:2], ["exited", 0])
    t.read()
    check("\033[K" not in t.text and ":" not in t.text, "it said %r" % t.text)
    os.kill(pid, signal.SIGKILL)
    t.wait(pid)


globals()["case_" + sys.argv[1]]()
