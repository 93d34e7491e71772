"""Serve a program in any language: whatever listens on a port can be an app.

    python examples/other_language.py

Here it is Perl, which most Linux machines have. flyteray tells the program in HOST and PORT where to listen, starts it
once it answers there, keeps what it prints in the replica's log, and ends it with its replica.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

import flyteray as flyte
from flyteray.app import AppEnvironment

words = AppEnvironment(name="words", command=["perl", "other_language.pl"], include=("other_language.pl",))


def main() -> None:
    if shutil.which("perl") is None:
        raise SystemExit("This example needs Perl: apt-get install perl-base")
    served = flyte.serve(words)
    answer = httpx.post(served.endpoint, content=Path(__file__).read_bytes())
    print(f"The words of this file: {answer.json()}")
    print(f"Count others: curl -s {served.endpoint} --data-binary @README.md")


if __name__ == "__main__":
    main()
