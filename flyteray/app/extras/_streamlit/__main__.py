"""Runs Streamlit on a page."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Become ``streamlit run``; SystemExit where Streamlit is not installed."""
    try:
        from streamlit.web.cli import main as streamlit  # deferred: to say what is missing
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}. This app needs Streamlit where it runs: pip install streamlit") from None

    page, *options = sys.argv[1:]
    if ":" in page:
        at = options.index("--") if "--" in options else len(options)
        options[at : at + 1] = ["--", page]
        page = str(Path(__file__).with_name("flyteray_function_page.py"))
    else:
        # With a root_dir the code may lie in a folder of the bundle; the import path leads there.
        places = [Path(folder, page) for folder in ("", *sys.path)]
        page = str(next((place for place in places if place.is_file()), page))
    sys.argv = ["streamlit", "run", page, *options]
    streamlit()


if __name__ == "__main__":
    main()
