#!/usr/bin/python3
"""Decode every image of the folders given with crit, encode and decode it again, and compare.

Not the bytes: fields that are newer than this crit have no place in what it decodes.
Images of ours that crit does not know (criu-lite*.img, armed) are passed over, as are pages.
"""
import io
import os
import sys

import pycriu.images


def lost(path):
    with open(path, "rb") as f:
        before = f.read()
    image = pycriu.images.load(io.BytesIO(before), pretty=False)
    after = io.BytesIO()
    pycriu.images.dump(image, after)
    after.seek(0)
    return pycriu.images.load(after, pretty=False) != pycriu.images.load(io.BytesIO(before), pretty=False)


def main():
    done, bad = 0, []
    for folder in sys.argv[1:]:
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.startswith(("criu-lite", "pages-", ".")) or os.path.islink(path):
                continue
            if not (name.endswith(".img") or name.startswith("stats-")):
                continue
            done += 1
            try:
                if lost(path):
                    bad.append("%s: is not the same again" % path)
            except Exception as e:  # whatever a reader may raise is our mistake
                bad.append("%s: %s: %s" % (path, type(e).__name__, e))
    print("%d images" % done)
    print("\n".join(bad))
    sys.exit(bool(bad) or done < 10)


main()
