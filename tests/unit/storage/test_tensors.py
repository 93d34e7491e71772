"""PyTorch is too large for every installation of the tests: where it is not there, these are skipped."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyteray._plan.values import pickling
from flyteray._plan.values.digest import digest
from flyteray._plan.values.pickling import Payload
from flyteray.io import File
from flyteray.storage import open_storage
from flyteray.storage.values import read_value, write_value

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")


@dataclass
class Checkpoint:
    model: Any
    step: int


def sent(value: object) -> Any:
    """A value as another process gets it: from memory that it may not write to."""
    payload = pickling.dump(value)
    return pickling.load(Payload(payload.header, [memoryview(bytes(each)) for each in payload.buffers]))


def module() -> Any:
    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.ReLU(), torch.nn.BatchNorm1d(300))


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(100_000.0),
        lambda: torch.ones(3, 4).t(),
        lambda: torch.ones(5, dtype=torch.bfloat16),
        lambda: torch.tensor([True, False]),
        lambda: torch.tensor(3),
        lambda: torch.empty(0, 3),
        lambda: torch.ones(3, requires_grad=True),
        lambda: torch.nn.Parameter(torch.ones(3)),
        lambda: torch.complex(torch.ones(2), torch.zeros(2)),
        lambda: torch.eye(3).to_sparse(),
    ],
    ids=["large", "turned", "bfloat16", "bool", "scalar", "empty", "grad", "parameter", "complex", "sparse"],
)
def test_a_tensor_arrives_as_it_was(make: Any) -> None:
    tensor = make()
    found = sent(tensor)

    assert type(found) is type(tensor)
    assert (found.dtype, found.shape, found.requires_grad) == (
        tensor.dtype,
        tensor.shape,
        tensor.requires_grad,
    )
    assert torch.equal(found.to_dense(), tensor.to_dense())
    assert tensor.is_sparse or found.stride() == tensor.stride()
    assert digest(found) == digest(tensor) == digest(make())


def test_the_memory_is_beside_the_pickle() -> None:
    payload = pickling.dump(Checkpoint(module(), 3))

    assert len(payload.header) < 10_000
    assert payload.nbytes > 300 * 300 * 4


def test_tensors_that_share_memory_share_it_where_they_arrive() -> None:
    base = torch.arange(100_000.0)
    tied = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.Linear(300, 300))
    tied[1].weight = tied[0].weight

    found = sent({"base": base, "part": base[10:20], "tied": tied})
    found["part"][0] = -1

    assert found["base"][10] == -1
    assert base[10] == 10
    assert found["tied"][1].weight is found["tied"][0].weight


def test_a_module_in_a_dataclass_computes_the_same_and_can_be_trained() -> None:
    model = module().eval()
    rows = torch.ones(2, 300)
    expected = model(rows).detach()

    found = sent(Checkpoint(model, 3)).model
    assert torch.equal(found(rows), expected)
    optimizer = torch.optim.SGD(found.parameters(), lr=0.1)
    found(rows).sum().backward()
    optimizer.step()

    assert not torch.equal(found(rows), expected)
    assert torch.equal(model(rows), expected)


def test_a_module_of_a_file_is_mapped_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    model = module().eval()
    write_value(storage, "model", model)
    before = (tmp_path / "model").read_bytes()

    found = read_value(storage, "model")
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    assert [each[1] for each in maps if each[-1] == str(tmp_path / "model")] == ["rw-p", "r--s"]
    with torch.no_grad():
        found[0].weight.zero_()

    assert (tmp_path / "model").read_bytes() == before
    assert not read_value(storage, "model")[0].weight.equal(found[0].weight)


def test_the_digest_of_a_module_is_that_of_its_weights() -> None:
    one, other = module(), module()
    with torch.no_grad():
        other[0].weight[0, 0] += 1

    assert digest(one) == digest(copy.deepcopy(one)) == digest(sent(one))
    assert digest(one) != digest(other)


def test_safetensors_of_a_stored_file_are_mapped(tmp_path: Path) -> None:
    safetensors: Any = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(module().state_dict(), path)
    file: File[Any] = File(path=f"file://{path}")

    weights = safetensors.load_file(file.download_sync())

    maps = Path("/proc/self/maps").read_text().splitlines()
    assert any(line.endswith(str(path)) for line in maps)
    assert torch.equal(sent(weights)["0.weight"], module().state_dict()["0.weight"])
