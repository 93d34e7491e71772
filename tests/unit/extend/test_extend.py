from __future__ import annotations

import pytest

import flyteray
from flyteray.extend import is_initialized, lazy_module


def test_a_lazy_module_is_imported_when_it_is_used() -> None:
    missing = lazy_module("no_such_module")
    json = lazy_module("json")

    assert json.dumps([1]) == "[1]"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        missing.anything  # noqa: B018  # it is imported for it


def test_nothing_has_to_be_initialized() -> None:
    assert is_initialized()
    assert flyteray.extend.TaskTemplate is flyteray.TaskTemplate
