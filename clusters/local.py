"""One machine, a laptop or a server: apps on port 8080, everything else as flyteray chooses it.

    python clusters/local.py     # starts it, or finds it running
    flyteray status              # says what runs where
    flyteray down                # ends it

Without this file `flyteray up` (and any run or serve) starts the same cluster with apps on a free port. Other settings
can be fixed here as well, such as FLYTERAY_STORAGE, FLYTERAY_DATABASE, FLYTERAY_NUM_CPUS or
FLYTERAY_OBJECT_STORE_MEMORY (in bytes): `python -m pydoc flyteray._settings.Settings` lists all.
FLYTERAY_HOME belongs into the shell, so that the commands above find the cluster.
"""

from __future__ import annotations

import os
import sys

from flyteray.cli import main

SETTINGS = {"FLYTERAY_PORT": "8080"}

if __name__ == "__main__":
    os.environ.update(SETTINGS)
    main(["up", *sys.argv[1:]])
