"""A terminal, and a shell that starts jobs on it as an interactive one does."""
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import termios
import time

LIMIT = 40  # seconds that anything may take


def fail(text):
    print("FAIL: %s" % text)
    sys.exit(1)


def until(condition, what):
    """Wait for a condition; its value."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    fail("never: %s" % what)


def lives(pid):
    return os.path.exists("/proc/%d" % pid)


def state(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def reading(*pids):
    """They sleep in read(0): a signal that comes now is heard at once."""
    def sleeps(pid):
        with open("/proc/%d/syscall" % pid) as f:
            return f.read().startswith("0 0x0 ")
    until(lambda: all(sleeps(p) for p in pids), "tasks %r read" % (pids,))


class Agent:
    """The shell's own side: leads the session, and does what it is told over a socket."""

    def __init__(self, sock, slave):
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        for sig in ("INT", "QUIT", "TSTP", "TTIN", "TTOU"):
            signal.signal(getattr(signal, "SIG" + sig), signal.SIG_IGN)
        self.modes = termios.tcgetattr(0)
        self.file = sock.makefile("rw")
        os.tcsetpgrp(0, os.getpgrp())

    def serve(self):
        for line in self.file:
            name, *args = json.loads(line)
            print(json.dumps(getattr(self, "do_" + name)(*args)), file=self.file, flush=True)

    def do_start(self, argv, foreground, group, files):
        pid = os.fork()
        if not pid:
            os.setpgid(0, group)
            if foreground:
                os.tcsetpgrp(0, os.getpgrp())
            for sig in ("INT", "QUIT", "TSTP", "TTIN", "TTOU", "PIPE"):
                signal.signal(getattr(signal, "SIG" + sig), signal.SIG_DFL)
            for fd, path in files:
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY), fd)
            os.execvp(argv[0], argv)
        try:
            os.setpgid(pid, group or pid)
        except (PermissionError, ProcessLookupError):
            pass  # it has done so itself and is a program now
        if foreground:
            os.tcsetpgrp(0, group or pid)
        return pid

    def do_wait(self, pid):
        """It stops or ends; the terminal is the shell's again, in the shell's modes."""
        status = os.waitpid(pid, os.WUNTRACED)[1]
        how = self.ended(status)
        self.left = termios.tcgetattr(0)
        os.tcsetpgrp(0, os.getpgrp())
        termios.tcsetattr(0, termios.TCSANOW, self.modes)
        return how

    def ended(self, status):
        had = os.tcgetpgrp(0)
        if os.WIFSTOPPED(status):
            return ["stopped", os.WSTOPSIG(status), had]
        if os.WIFSIGNALED(status):
            return ["killed", os.WTERMSIG(status), had]
        return ["exited", os.WEXITSTATUS(status), had]

    def do_wait_only(self, pid):
        return self.ended(os.waitpid(pid, os.WUNTRACED)[1])

    def do_go_on(self, group, foreground):
        if foreground:
            termios.tcsetattr(0, termios.TCSANOW, self.left)
            os.tcsetpgrp(0, group)
        os.kill(-group, signal.SIGCONT)

    def do_front(self, group):
        os.tcsetpgrp(0, group)

    def do_modes(self, change):
        """The shell's own modes: local flags that are set from now on."""
        self.modes[3] |= change
        termios.tcsetattr(0, termios.TCSANOW, self.modes)


class Terminal:
    """A pseudo terminal with a shell on it, and what was written to it in .text"""

    def __init__(self, rows, cols):
        self.text = ""
        self.master, slave = os.openpty()
        self.resize(rows, cols)
        self.sock, theirs = socket.socketpair()
        self.shell = os.fork()
        if not self.shell:
            try:
                os.close(self.master)
                self.sock.close()
                Agent(theirs, slave).serve()
            finally:
                os._exit(0)
        theirs.close()
        os.close(slave)
        self.sock.settimeout(LIMIT)
        self.replies = self.sock.makefile("r")
        until(lambda: self.foreground() == self.shell, "the shell leads the terminal")

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def foreground(self):
        return struct.unpack("i", fcntl.ioctl(self.master, termios.TIOCGPGRP, bytes(4)))[0]

    def modes(self):
        return termios.tcgetattr(self.master)

    def send(self, *request):
        self.sock.sendall(json.dumps(request).encode() + b"\n")

    def reply(self):
        """What it says to the oldest request; the terminal is read meanwhile."""
        def answered():
            self.read()
            return select.select([self.sock], [], [], 0)[0]
        until(answered, "the shell says something; on the terminal: %r" % self.text)
        return json.loads(self.replies.readline())

    def ask(self, *request):
        self.send(*request)
        return self.reply()

    def start(self, *argv, foreground=True, group=0, files=()):
        return self.ask("start", [str(a) for a in argv], foreground, group, files)

    def wait(self, pid):
        """["exited" | "killed" | "stopped", number, group that had the terminal]"""
        return self.ask("wait", pid)

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.text += os.read(self.master, 4096).decode()
            except OSError:
                return

    def expect(self, pattern, keep=False):
        """The match of what was written; what is before its end is done with, or kept."""
        def found():
            self.read()
            return re.search(pattern, self.text)
        end = time.monotonic() + LIMIT
        while not found():
            if time.monotonic() > end:
                fail("never on the terminal: %s; but %r" % (pattern, self.text))
            time.sleep(0.01)
        match = found()
        self.text = (self.text[:match.start()] if keep else "") + self.text[match.end():]
        return match

    def type(self, text):
        os.write(self.master, text.encode())

    def hang_up(self):
        os.close(self.master)
        self.sock.close()
        self.replies.close()
        os.waitpid(self.shell, 0)

