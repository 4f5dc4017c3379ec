"""A job: says what it reads and which signals came. Its terminal's modes are its own.

    job.py NAME [cooked] [default] [ttin] [winch] [late=FIFO] [size=MIB]

cooked: leave the modes alone; default: no signal handlers; ttin: ignore SIGTTIN;
winch: say when the window changes; size: hold so much memory;
late: read nothing before somebody has written to that FIFO and closed it.
A line "where" asks for its place, "exit N" ends it (and whoever reads what it writes).
"""
import fcntl
import os
import signal
import struct
import sys
import termios

name, options = sys.argv[1], sys.argv[2:]


def say(text):
    data = text.encode() + b"\n"
    while data:
        data = data[os.write(1, data):]


def window():
    return struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]


def set_modes():
    modes = termios.tcgetattr(0)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~(termios.ICANON | termios.ECHO)
    modes[6][termios.VMIN] = 1
    modes[6][termios.VTIME] = 0
    modes[6][termios.VINTR] = b"\x07"
    termios.tcsetattr(0, termios.TCSANOW, modes)


def where():
    fd = os.open("/dev/tty", os.O_RDWR)
    place = (os.getpid(), os.getpgrp(), os.getsid(0), os.tcgetpgrp(fd))
    os.close(fd)
    return "pid=%d pgid=%d sid=%d fg=%d rows=%d cols=%d" % (place + window())


def lines():
    held = b""
    while True:
        try:
            data = os.read(0, 100)
        except OSError as e:
            say("%s: read: %s" % (name, e.strerror))
            sys.exit(9)
        if not data:
            return
        held += data
        while b"\n" in held:
            line, held = held.split(b"\n", 1)
            yield line.decode()


if "default" in options:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
else:
    for sig in (signal.SIGINT, signal.SIGCONT, signal.SIGHUP):
        signal.signal(sig, lambda s, _: say("%s %s" % (name, signal.Signals(s).name)))
if "winch" in options:
    signal.signal(signal.SIGWINCH, lambda s, _: say("%s SIGWINCH" % name))
if "ttin" in options:
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
if os.isatty(0) and "cooked" not in options:
    set_modes()
memory = b"x" * sum(int(o[5:]) << 20 for o in options if o.startswith("size="))
say("%s ready" % name)
for o in options:
    if o.startswith("late="):
        open(o[5:]).read()
for line in lines():
    if line.startswith("exit "):
        say(line)
        sys.exit(int(line[5:]))
    say("%s %s" % (name, where() if line == "where" else "heard " + line))
