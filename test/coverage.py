#!/usr/bin/env python3
"""coverage.py BUILD: lines of criu-lite/ and images/ that ran, by gcov, and all that did not.

Prints a line a file and one for all, then every function that was never called, with the reason that
test/coverage-exceptions has for it; BUILD/not-reached has every line. A function without a reason is
an error, so is a row that is true no more, and so is less than WANTED per cent.
"""
import fnmatch
import json
import os
import re
import subprocess
import sys

WANTED = 85.0
ROOMS = ("criu-lite/", "images/")


def measured(build):
    """{file: {line: times}}, over all objects."""
    lines = {}
    notes = [os.path.join(d, f) for d, _, files in os.walk(os.path.join(build, "obj"))
             for f in files if f.endswith(".gcno")]
    for i in range(0, len(notes), 50):
        out = subprocess.run(["gcov", "--json-format", "--stdout", *notes[i:i + 50]],
                             capture_output=True, check=True, text=True).stdout
        for text in out.splitlines():
            for f in json.loads(text)["files"]:
                name = os.path.normpath(f["file"])
                if not name.startswith(ROOMS) or name.endswith(".h"):
                    continue
                of = lines.setdefault(name, {})
                for line in f["lines"]:
                    n = line["line_number"]
                    of[n] = of.get(n, 0) + line["count"]
    return lines


def functions_not_reached(lines):
    """{file: {function}} of which no line ran."""
    dead = {}
    for name, of in lines.items():
        current, bodies = None, {}
        for n, text in enumerate(open(name), 1):
            if re.match(r"[a-z].*\(", text) and not text.rstrip().endswith(";"):
                found = re.search(r"(\w+)\(", re.sub(r"__attribute__\(\(.*?\)\)", "", text))
                current = found and found[1]
            if n in of and current:
                bodies.setdefault(current, []).append(of[n])
        dead[name] = {f for f, counts in bodies.items() if not any(counts)}
    return dead


def exceptions():
    """(file, function pattern, reason) of coverage-exceptions."""
    for row in open("test/coverage-exceptions"):
        words = row.split(None, 2)
        if words and not words[0].startswith("#"):
            yield words


def reason_for(name, function):
    return next((r.strip() for n, f, r in exceptions() if n == name and fnmatch.fnmatch(function, f)), None)


def stale(dead):
    """Rows that are true no more."""
    return [f"{n} {f}" for n, f, reason in exceptions()
            if not reason.startswith(("kernel:", "race:")) and not fnmatch.filter(dead.get(n, ()), f)]


def main():
    build = sys.argv[1]
    lines = measured(build)
    ran = everything = 0
    with open(os.path.join(build, "not-reached"), "w") as out:
        for name in sorted(lines):
            of = lines[name]
            hit = sum(1 for count in of.values() if count)
            ran, everything = ran + hit, everything + len(of)
            print(f"{100 * hit / len(of):6.1f} %  {hit:5} of {len(of):5}  {name}")
            text = open(name).read().splitlines()
            if max(of) > len(text):
                sys.exit(f"coverage: {name} has changed since it was compiled: make coverage-programs")
            for n in sorted(n for n in of if not of[n]):
                print(f"{name}:{n}:{text[n - 1]}", file=out)
    share = 100 * ran / everything if everything else 0.0
    print(f"{share:6.1f} %  {ran:5} of {everything:5}  all; what was not reached is in {build}/not-reached")
    dead = functions_not_reached(lines)
    unexplained = 0
    for name, function in sorted((n, f) for n, functions in dead.items() for f in functions):
        reason = reason_for(name, function)
        unexplained += not reason
        print(f"never called: {name}: {function}: {reason or 'and coverage-exceptions does not say why'}")
    bad = stale(dead)
    for row in bad:
        print(f"coverage-exceptions: this runs now, or is gone: {row}")
    return 1 if bad or unexplained or share < WANTED else 0


sys.exit(main())
