"""The script that Streamlit runs for a page that is a function."""

import importlib
import sys

module, _, name = sys.argv[1].partition(":")
getattr(importlib.import_module(module), name)()
