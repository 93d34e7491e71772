from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from flyteray._control.registry.registry import Registry
from flyteray._plan.triggers.artifacts import ArtifactInfo, WatchSpec, publication, published, value_of
from flyteray._plan.triggers.partitions import PartitionSchema
from flyteray.artifacts import Metadata, new
from flyteray.errors import ArtifactNotFoundError
from flyteray.io import File


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with contextlib.closing(Registry(url)) as registry:
        yield registry


def publish(registry: Registry, version: str, name: str = "m", path: str = "/p", **said: Any) -> ArtifactInfo:
    metadata = Metadata(name=name, version=version, **said)
    made = publication(File[Any](path=path), metadata, "")
    [info] = asyncio.run(registry.artifacts.publish([made]))
    return info


def test_the_newest_version_is_the_one_that_came_last(registry: Registry) -> None:
    for version, region in (("1", "eu"), ("2", "us"), ("3", "eu")):
        publish(registry, version, path=f"/{version}", partitions={"region": region})
    publish(registry, "9", "other")

    def newest(version: str | None = None, **partitions: str) -> str:
        return asyncio.run(registry.artifacts.get("m", version, partitions)).spec.version

    assert (newest(), newest(region="us"), newest("1")) == ("3", "2", "1")
    assert value_of(asyncio.run(registry.artifacts.value("m", "2"))) == File(path="/2")
    found = asyncio.run(registry.artifacts.listall("m", {"region": "eu"}, None))
    assert [each.spec.version for each in found] == ["3", "1"]
    assert len(asyncio.run(registry.artifacts.listall(None, {}, 2))) == 2
    assert asyncio.run(registry.artifacts.names()) == ["m", "other"]


def test_a_version_never_changes_and_is_kept_once(registry: Registry) -> None:
    first = publish(registry, "1")

    assert publish(registry, "1") == first
    with pytest.raises(ValueError, match="'m' has a version '1' already"):
        publish(registry, "1", path="/other")


def test_who_waits_is_told_of_those_that_came_since(registry: Registry) -> None:
    first = publish(registry, "1", partitions={"region": "eu"})
    for version, region in (("2", "us"), ("3", "eu")):
        publish(registry, version, partitions={"region": region, "day": "1"})

    def since(seen: int, **watch: Any) -> list[str]:
        found = registry.artifacts.after(seen, WatchSpec(name="m", **watch))
        return [each.spec.version for each in found]

    assert since(0) == ["1", "2", "3"]
    assert since(first.id, partitions={"region": "eu"}) == ["3"]
    assert since(0, version="2") == ["2"]
    assert registry.artifacts.newest() == first.id + 2


def test_a_deleted_version_is_not_found_and_its_place_is_nobody_elses(registry: Registry) -> None:
    publish(registry, "1")
    last = publish(registry, "2")
    asyncio.run(registry.artifacts.delete("m", "2"))

    with pytest.raises(ArtifactNotFoundError, match=r"no version '2'. The newest are '1'"):
        asyncio.run(registry.artifacts.get("m", "2", {}))
    with pytest.raises(ArtifactNotFoundError, match="no artifact 'n'"):
        asyncio.run(registry.artifacts.get("n", None, {}))
    assert publish(registry, "3").id > last.id


def test_the_outputs_of_an_action_are_the_same_versions_when_it_runs_again() -> None:
    made = new(File[Any](path="/p", hash="h1"), Metadata(name="m", description="d"))
    by_content = new(File[Any](path="/p", hash="h1"), Metadata(name="c", version_from_content=True))

    specs = [spec for spec, _ in published((1, made, by_content), "r1", "a0")]

    assert [(spec.name, spec.version) for spec in specs] == [("m", "r1-a0-1"), ("c", "h1")]
    assert (specs[0].type, specs[0].place, specs[0].run, specs[0].description) == ("File", "/p", "r1", "d")
    assert specs == [spec for spec, _ in published((1, made, by_content), "r1", "a0")]


def test_nobody_waits_for_a_version_with_other_partitions_than_are_declared(registry: Registry) -> None:
    fixed = PartitionSchema.declare("m", {"region": str})
    assert asyncio.run(registry.artifacts.declare("m", fixed)) == fixed
    assert asyncio.run(registry.artifacts.declare("m", fixed)) == fixed

    publish(registry, "1", partitions={"region": "eu"})
    publish(registry, "2", partitions={"region": "eu", "day": "1"})

    assert [each.spec.version for each in registry.artifacts.after(0, WatchSpec(name="m"))] == ["1"]
    assert len(asyncio.run(registry.artifacts.listall("m", {}, None))) == 2
    with pytest.raises(ValueError, match="artifact 'm' are region, and these would be others: none"):
        asyncio.run(registry.artifacts.declare("m", PartitionSchema.declare("m", {})))
    assert asyncio.run(registry.artifacts.schema("m")) == fixed


def test_without_a_declaration_the_first_version_with_partitions_tells_them(registry: Registry) -> None:
    with pytest.raises(ArtifactNotFoundError):
        asyncio.run(registry.artifacts.schema("m"))
    publish(registry, "0")
    assert asyncio.run(registry.artifacts.schema("m")).all_keys == ()
    publish(registry, "1", partitions={"region": "eu"})
    publish(registry, "2", partitions={"day": "1"})

    found = asyncio.run(registry.artifacts.schema("m"))

    assert (found.keys, found.declared) == (("region",), False)
    with pytest.raises(ValueError, match="What has other partitions needs another name"):
        asyncio.run(registry.artifacts.declare("m", PartitionSchema.declare("m", {"day": str})))
    fixed = PartitionSchema.declare("m", {"region": str})
    assert asyncio.run(registry.artifacts.declare("m", fixed)).declared


def test_an_artifact_without_partitions_may_get_some(registry: Registry) -> None:
    publish(registry, "1")
    fixed = PartitionSchema.declare("m", {"region": str})

    assert asyncio.run(registry.artifacts.declare("m", fixed)) == fixed
