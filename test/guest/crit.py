#!/usr/bin/python3
"""Decode every image below a folder with crit, encode it again, and say how each case went.

  crit.py IMAGES EXCEPTIONS     one folder of IMAGES a case

What comes back must hold the same messages, but for the fields that this crit is
too old to know: it drops them. A file that crit cannot decode is a failure unless
EXCEPTIONS has a line "PATTERN crit REASON" for its name. One process for all:
starting python for each of some thousand files takes longer than the rest.
"""
import fnmatch
import io
import os
import sys

import pycriu.images
from pycriu.images import pb2dict

# The messages of the image that is being decoded, as they were read.
messages = []
depth = 0
decode_message = pb2dict.pb2dict


def note_message(message, *args, **kwargs):
    global depth
    if depth == 0:
        copy = type(message)()
        copy.CopyFrom(message)
        messages.append(copy)
    depth += 1
    try:
        return decode_message(message, *args, **kwargs)
    finally:
        depth -= 1


pb2dict.pb2dict = note_message


def known(message):
    """What of it crit has names for, as bytes."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return copy.SerializeToString()


def exceptions(path):
    with open(path) as lines:
        rows = [line.split(None, 2) for line in lines if line.strip() and line[0] != "#"]
    return [row[0] for row in rows if row[1] == "crit"]


def decode(image):
    messages.clear()
    return pycriu.images.load(io.BytesIO(image), pretty=True), list(messages)


def round_trip(image):
    """The messages as they were, and the image that crit makes of them."""
    decoded, before = decode(image)
    encoded = pycriu.images.dumps(decode(image)[0])
    again, after = decode(encoded)
    if decoded != again or [known(m) for m in before] != [m.SerializeToString() for m in after]:
        raise ValueError("encoded again it is another image")
    return before, encoded


def bad_files(folder, excepted):
    decoded, bad = 0, []
    for where, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(where, name)
            if os.path.islink(path) or any(fnmatch.fnmatch(name, e) for e in excepted):
                continue
            try:
                with open(path, "rb") as f:
                    round_trip(f.read())
                decoded += 1
            except Exception as e:  # whatever a reader may raise is our mistake
                bad.append("%s: %s: %s" % (os.path.relpath(path, folder), type(e).__name__, e))
    return decoded, bad


def main():
    root, excepted = sys.argv[1], exceptions(sys.argv[2])
    passed, failed = 0, 0
    for case in sorted(os.listdir(root)):
        decoded, bad = bad_files(os.path.join(root, case), excepted)
        if decoded < 10:
            bad.append("only %d images" % decoded)
        passed, failed = passed + (not bad), failed + bool(bad)
        print("%s %d - guest/crit/%s" % ("not ok" if bad else "ok", passed + failed, case))
        for line in bad[:10]:
            print("#   " + line)
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    sys.exit(bool(failed) or not passed)


if __name__ == "__main__":
    main()
