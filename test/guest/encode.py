#!/usr/bin/python3
"""Decode every image of the folders given with crit and encode it again: what is lost?

Nothing, to the last byte, but for fields that are newer than this crit (LOST): it has no
place for them in what it decodes. Images of ours that crit does not know (criu-lite*.img,
armed) are passed over, as are pages.
"""
import fnmatch
import os
import sys

import crit

# By file: the message and the number of the field. All of them must be met.
LOST = {
    "pagemap-*.img": {("pagemap_entry", 5)},  # nr_pages with 64 bits; field 2 has it, too
    "core-*.img": {("core_entry.thread_core.creds", 19)},  # no_new_privs
    "memfd.img": {("memfd_inode_entry", 9)},  # mode
}


def unknown(message, path):
    """Places of the fields of a message that crit does not know."""
    places = {(path, field.field_number) for field in message.UnknownFields()}
    for field, value in message.ListFields():
        if field.message_type:
            for inner in value if field.label == field.LABEL_REPEATED else [value]:
                places |= unknown(inner, path + "." + field.name)
    return places


def may_lose(name):
    for pattern, places in LOST.items():
        if fnmatch.fnmatch(name, pattern):
            return places
    return set()


def check_numbers(message):
    """What is lost of a pagemap is said twice."""
    for field in message.UnknownFields():
        if field.data != message.nr_pages:
            raise ValueError("field 5 is %r, nr_pages is %d" % (field.data, message.nr_pages))


def lost(name, image):
    """Places of what crit loses; anything that may not be lost raises."""
    before, encoded = crit.round_trip(image)
    places = set()
    for message in before:
        places |= unknown(message, message.DESCRIPTOR.name)
        if name.startswith("pagemap-") and message.DESCRIPTOR.name == "pagemap_entry":
            check_numbers(message)
    if places - may_lose(name):
        raise ValueError("crit does not know %s" % sorted(places - may_lose(name)))
    if not places and encoded != image:
        raise ValueError("encoded again it is not the same, byte for byte")
    unknown_bytes = sum(len(m.SerializeToString()) - len(crit.known(m)) for m in before)
    if len(image) - len(encoded) != unknown_bytes:
        raise ValueError("%d bytes are missing, but crit does not know %d" %
                         (len(image) - len(encoded), unknown_bytes))
    return places


def main():
    done, met, bad = 0, set(), []
    for folder in sys.argv[1:]:
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.startswith(("criu-lite", "pages-", ".")) or os.path.islink(path):
                continue
            if not (name.endswith(".img") or name.startswith("stats-")):
                continue
            done += 1
            try:
                with open(path, "rb") as f:
                    met |= lost(name, f.read())
            except Exception as e:  # whatever a reader may raise is our mistake
                bad.append("%s: %s: %s" % (path, type(e).__name__, e))
    expected = set().union(*LOST.values())
    bad += ["%s of %s is on the list, but is not lost" % (n, m) for m, n in expected - met]
    print("%d images; lost: %s" % (done, ", ".join("%s %d" % place for place in sorted(met))))
    print("\n".join(bad))
    sys.exit(bool(bad) or done < 10)


main()
