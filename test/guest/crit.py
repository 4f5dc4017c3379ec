#!/usr/bin/python3
"""Decode every image below a folder with crit, and say how each case went.

  crit.py IMAGES EXCEPTIONS     one folder of IMAGES a case

A file that crit cannot decode is a failure unless EXCEPTIONS has a line
"PATTERN crit REASON" for its name. One process for all: starting python for
each of some thousand files takes longer than the rest.
"""
import fnmatch
import io
import os
import sys

import pycriu.images


def exceptions(path):
    with open(path) as lines:
        rows = [line.split(None, 2) for line in lines if line.strip() and line[0] != "#"]
    return [row[0] for row in rows if row[1] == "crit"]


def bad_files(folder, excepted):
    decoded, bad = 0, []
    for where, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(where, name)
            if os.path.islink(path) or any(fnmatch.fnmatch(name, e) for e in excepted):
                continue
            try:
                with open(path, "rb") as f:
                    pycriu.images.load(f, pretty=True)
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


main()
