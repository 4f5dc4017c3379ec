"""Descriptors that lead out of the tree, as a script written for criu hands them on.

  inherit.py CASE [DUMPER RESTORER]     in a namespace of its own; programs are build/criu-lite by default

The job reads lines from its standard input, a pipe of ours, answers into another pipe of ours, and
writes a log. It is ended by a dump and goes on with other pipes, and with its log in another place.
"""
import os
import signal
import subprocess
import sys
import time

LOG = 3  # of the job; kept free here
os.dup2(os.open(os.devnull, os.O_RDONLY), LOG)
DIR = os.environ["CASE_DIR"]
OURS = os.path.join(os.environ["BUILD"], "criu-lite")
PATIENCE = float(os.environ.get("PATIENCE", 20))
JOB = """
while read -r line; do
	echo "log $line" >&3
	echo "got $line"
done
echo end
"""

dumper = restorer = OURS


def path(name):
    return os.path.join(DIR, name)


def check(condition, text):
    if not condition:
        sys.exit("FAIL: " + text)


class Pipe:
    """One of ours: both ends, until they are let go."""

    def __init__(self):
        self.r, self.w = os.pipe()

    def name(self):
        return "pipe:[%d]" % os.fstat(self.r if self.r >= 0 else self.w).st_ino

    def let_go(self, *ends):
        for end in ends:
            os.close(getattr(self, end))
            setattr(self, end, -1)

    def say(self, line):
        os.write(self.w, line.encode() + b"\n")

    def hears(self, want):
        """The next line that comes out."""
        line = b""
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        while not line.endswith(b"\n"):
            more = os.read(self.r, 1)
            check(more, "the pipe is at its end, behind %r" % line)
            line += more
        signal.setitimer(signal.ITIMER_REAL, 0)
        check(line.decode() == want + "\n", "heard %r, not %r" % (line, want))


def text(name):
    with open(path(name)) as f:
        return f.read()


class Job:
    def __init__(self, stdin=None, stdout=None, log=None):
        self.into, self.out = Pipe(), Pipe()
        if log is None:
            log = os.open(path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.process = subprocess.Popen(["sh", "-c", JOB], stdin=self.into.r if stdin is None else stdin,
                                        stdout=self.out.w if stdout is None else stdout,
                                        stderr=subprocess.DEVNULL, start_new_session=True,
                                        preexec_fn=lambda: os.dup2(log, LOG), pass_fds=[LOG])
        self.pid = self.process.pid
        os.close(log)
        self.into.let_go("r")
        self.out.let_go("w")


def run(program, verb, *args, fails=None, fds=()):
    done = subprocess.run([program, verb, "-D", path("images"), "-v2", "-o", verb + ".log", *args],
                          pass_fds=fds, stdin=subprocess.DEVNULL)
    said = text("images/" + verb + ".log")
    if fails is None:
        check(done.returncode == 0, "%s: exit status %d: %s" % (verb, done.returncode, said))
    else:
        check(done.returncode == 1, "%s: exit status %d: %s" % (verb, done.returncode, said))
        check(fails in said, "%s does not say %r: %s" % (verb, fails, said))
    return said


def dump(job, *args, **kwargs):
    os.makedirs(path("images"), exist_ok=True)
    said = run(dumper, "dump", "-t", str(job.pid), *args, **kwargs)
    if not kwargs.get("fails") and "-R" not in args:
        check(job.process.wait() == -signal.SIGKILL, "the job was to be ended")
    return said


def restore(given, *args, **kwargs):
    """given: names and descriptors."""
    options = []
    for name, fd in given:
        options += ["--inherit-fd", "fd[%d]:%s" % (fd, name)]
    said = run(restorer, "restore", "-d", *options, *args, fds=[fd for _, fd in given], **kwargs)
    return said


def not_running(job):
    check(not os.path.exists("/proc/%d" % job.pid), "there is a task")


def goes_on(job, line, out=None):
    job.into.say(line)
    (out or job.out).hears("got " + line)


def ends(job, out=None):
    job.into.let_go("w")
    (out or job.out).hears("end")


def started(**kwargs):
    job = Job(**kwargs)
    job.names = job.into.name(), job.out.name()
    goes_on(job, "1")
    return job


def dump_with_unread(job):
    os.kill(job.pid, signal.SIGSTOP)
    os.waitpid(job.pid, os.WUNTRACED)
    job.into.say("unread")
    dump(job)


def restored(job, *more):
    """With other pipes, given by the names of those that were saved."""
    job.into, job.out = Pipe(), Pipe()
    said = restore([(job.names[0], job.into.r), (job.names[1], job.out.w), *more])
    job.into.let_go("r")
    job.out.let_go("w")
    return said


# --- as criu does -----------------------------------------------------------------------------


def case_script():
    job = started()
    dump(job)
    place = os.open(path("other-place"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(place, b"there before\n")
    restored(job, (path("log")[1:], place))
    goes_on(job, "2")
    ends(job)
    check(text("log") == "log 1\n", "the old log: " + text("log"))
    check(text("other-place") == "there before\nlog 2\n", "the new log: " + text("other-place"))


# --- more exactly ------------------------------------------------------------------------------


def case_left_running():
    job = started()
    said = dump(job, "-R")
    for name in job.names:
        check("Warn" in said and "--inherit-fd fd[N]:" + name in said, "it does not warn: " + said)
    goes_on(job, "2")
    said = dump(job, "-R", "--external", job.names[0].replace(":", ""), "--external", job.names[1])
    check(not said, "declared, but it warns: " + said)
    goes_on(job, "3")
    ends(job)
    check(job.process.wait() == 0, "its exit status")


def case_not_given():
    job = started()
    dump(job)
    other = Pipe()
    said = restore([(job.names[1], other.w)], fails=job.names[0] + " leads out of the tree")
    check(job.names[1] not in said, "it was given: " + said)
    not_running(job)
    run(restorer, "restore", "--inherit-fd", "fd[77]:" + job.names[0],
        fails="descriptor for %s is not open" % job.names[0])
    run(restorer, "restore", "--inherit-fd", "fd[1]", fails="'fd[1]' is not of the form")
    restored(job)
    goes_on(job, "2")
    ends(job)


def hears_on(job, then):
    """What it had not read, and what was said since."""
    os.kill(job.pid, signal.SIGCONT)
    job.out.hears("got unread")
    job.out.hears("got " + then)
    ends(job)


def case_unread():
    """What it had not read yet it finds in the pipe that it is given."""
    job = started()
    dump_with_unread(job)
    restored(job)
    job.into.say("3")
    hears_on(job, "3")


def case_same_pipe():
    """The one that it had, where what it had not read still is."""
    job = started()
    dump_with_unread(job)
    # Whoever has one end of a pipe can have the other.
    job.into.r = os.open("/proc/self/fd/%d" % job.into.w, os.O_RDONLY | os.O_NONBLOCK)
    job.into.say("later")
    job.out = Pipe()
    restore([(job.names[0], job.into.r), (job.names[1], job.out.w)])
    job.into.let_go("r")
    job.out.let_go("w")
    hears_on(job, "later")


def case_other_bytes():
    job = started()
    dump_with_unread(job)
    into, out = Pipe(), Pipe()
    into.say("other")
    restore([(job.names[0], into.r), (job.names[1], out.w)], fails="other ones than were saved")
    not_running(job)
    check(os.read(into.r, 100) == b"other\n", "the bytes of the caller's are gone")


def case_file_for_pipe():
    """A file takes the place of a pipe; it must be open for what the pipe was."""
    job = started()
    dump(job)
    job.into = Pipe()
    out = os.open(path("answers"), os.O_RDWR | os.O_CREAT, 0o600)
    reading = os.open(path("answers"), os.O_RDONLY)
    given = [(job.names[0].replace(":", ""), job.into.r)]
    restore([*given, (job.names[1], reading)], fails="is open another way")
    not_running(job)
    restore([*given, (job.names[1], out)])
    job.into.let_go("r")
    job.into.say("2")
    job.into.let_go("w")
    until(lambda: text("answers").endswith("end\n"), "the end")
    check(text("answers") == "got 2\nend\n", "answers: " + text("answers"))


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        check(time.monotonic() < deadline, "%s does not come" % what)
        time.sleep(0.01)


def case_both_ends():
    """Standard input and output are one pipe that we have, too: one descriptor is enough."""
    both = Pipe()
    job = Job(stdin=both.r, stdout=both.w)
    # It answers itself, and reads the answers: "got got 1", longer each time. Held, it is in one of them.
    both.say("1")
    until(lambda: "got got got 1" in text("log"), "an answer to an answer")
    dump(job)
    name = both.name()
    both.let_go("r", "w")
    new = Pipe()
    before = len(text("log"))
    restore([(name, new.r)])
    # Half a line may be left of what it read: what was in the pipe may have been for us.
    new.say("\n2")
    until(lambda: "got got 2" in text("log")[before:], "an answer to an answer")
    os.kill(job.pid, signal.SIGKILL)


def mount_of(fd):
    with open("/proc/self/fdinfo/%d" % fd) as f:
        return int(dict(line.split(":", 1) for line in f)["mnt_id"])


def case_deleted_file():
    """Without a path, it has a name for who declares it."""
    log = os.open(path("log"), os.O_WRONLY | os.O_CREAT, 0o600)
    name = "file[%x:%x]" % (mount_of(log), os.fstat(log).st_ino)
    job = started(log=log)
    os.unlink(path("log"))
    dump(job, fails="deleted file")
    goes_on(job, "2")
    dump(job, "--external", name)
    job.into, job.out = Pipe(), Pipe()
    restore([(job.names[0], job.into.r), (job.names[1], job.out.w)],
            fails=name + " leads out of the tree")
    not_running(job)
    place = os.open(path("other-place"), os.O_WRONLY | os.O_CREAT, 0o600)
    restored(job, (name, place))
    goes_on(job, "3")
    ends(job)
    check(text("other-place") == "log 3\n", "the new log: " + text("other-place"))


def case_terminal():
    master, slave = os.openpty()
    st = os.fstat(slave)
    name = "tty[%x:%x]" % (st.st_rdev, st.st_dev)
    job = Job(stdout=slave)
    job.names = job.into.name(), name
    terminal = Pipe()
    terminal.r = master
    job.into.say("1")
    # Its own way of ending lines.
    terminal.hears("got 1\r")
    dump(job, fails="is not supported without --shell-job")
    dump(job, "--external", name)
    job.into = Pipe()
    restore([(job.names[0], job.into.r)], fails=name + " leads out of the tree")
    not_running(job)
    terminal.r, new = os.openpty()
    restore([(job.names[0], job.into.r), (name, new)])
    job.into.let_go("r")
    job.into.say("2")
    terminal.hears("got 2\r")
    check(os.readlink("/proc/%d/fd/1" % job.pid) == os.ttyname(new), "another terminal")
    job.into.let_go("w")
    terminal.hears("end\r")


def case_fifo():
    """By its path; one end of it is ours."""
    os.mkfifo(path("fifo"))
    both = os.open(path("fifo"), os.O_RDWR)
    reading = os.open(path("fifo"), os.O_RDONLY)
    job = Job(stdin=reading)
    os.close(reading)
    os.write(both, b"1\n")
    job.out.hears("got 1")
    name = path("fifo")
    job.names = name, job.out.name()
    dump(job)
    os.close(both)
    os.unlink(path("fifo"))
    restored(job)
    goes_on(job, "2")
    ends(job)


def case_unused():
    job = started()
    dump(job)
    spare = Pipe()
    said = restored(job, ("no/such/file", spare.w))
    check("no descriptor of the tree is of no/such/file" in said, said)
    goes_on(job, "2")
    ends(job)


def too_long(number, frame):
    sys.exit("FAIL: nothing comes")


signal.signal(signal.SIGALRM, too_long)
if len(sys.argv) > 2:
    dumper, restorer = sys.argv[2:4]
globals()["case_" + sys.argv[1].replace("-", "_")]()
