# Decode every image named on the command line with crit's own library, as
# `crit decode` does, but in one process: starting python is slow in the guest.
import json
import sys

import pycriu

for path in sys.argv[1:]:
    try:
        with open(path, "rb") as f:
            json.dumps(pycriu.images.load(f, pretty=True))
    except Exception as e:
        sys.exit(f"{path}: {type(e).__name__}: {e}")
print(len(sys.argv) - 1, "images")
