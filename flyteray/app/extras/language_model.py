"""Language models are served as apps by vLLM and SGLang, whose environments have much in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

from flyteray._declare.environment import without_meaning
from flyteray.app.command import split_words
from flyteray.app.environment import AppEnvironment
from flyteray.app.parameters import Parameter
from flyteray.app.routing import Link
from flyteray.app.sources import RunOutput
from flyteray.io import Dir

MODEL_VARIABLE = "FLYTE_MODEL_LOADER_LOCAL_MODEL_PATH"  # an environment variable, as in Flyte
DRAFT_VARIABLE = "FLYTE_MODEL_LOADER_LOCAL_DRAFT_MODEL_PATH"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(eq=False, repr=False, kw_only=True)
class LanguageModelEnvironment(AppEnvironment, ABC):
    """An app that serves a language model by a server of others; the kinds say which.

    The server has to be installed where it runs, or be part of the image. Ask for its GPUs in ``resources``.

    Args:
        model_path: A folder of weights: a path or URL, a :class:`flyteray.io.Dir`, or a
            ``RunOutput(type="directory")``. Fetched once per node.
        model_hf_path: Instead, a name on the Hugging Face hub, which the server fetches itself.
        model_id: What clients call the model.
        extra_args: More options for the server, as words or as one text that is split as a shell splits it.
        stream_model: Weights are always fetched to the node first, where all replicas read them from the page cache;
            ``True`` has no meaning on Ray, and says so.
        draft_model_path: A small model for speculative decoding, as in ``model_path``; needs ``speculative_config``.
        draft_model_hf_path: Instead, a name on the Hugging Face hub.
        speculative_config: How to decode speculatively, in the server's own words, without the draft model.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: No ``model_id``, neither or both of the paths, a draft model without ``speculative_config``, an
            option in ``extra_args`` that the environment says itself, or a field or hook that belongs to the kind:
            server, command, args, parameters, on_startup, ...
    """

    _speculative_example: ClassVar[dict[str, Any]]

    model_path: str | Dir[Any] | RunOutput = ""
    model_hf_path: str = ""
    model_id: str = ""
    extra_args: str | list[str] = ""
    stream_model: bool | None = None
    draft_model_path: str | Dir[Any] | RunOutput = ""
    draft_model_hf_path: str = ""
    speculative_config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.parameters, _Own):  # a clone's: made anew below
            self.parameters = []
        for name in ("args", "command", "parameters"):
            if getattr(self, name):
                self._refuse(name, "give the server's options in extra_args")
        super().__post_init__()
        self._expect("speculative_config", dict | None, "a dict")
        for name in ("model_hf_path", "model_id", "draft_model_hf_path"):
            self._expect(name, str, "a str")
        if not self.model_id:
            raise ValueError(f"{self._words()} needs model_id, the name that clients call the model by.")
        self._check_paths()
        self._check_extra()
        if self.stream_model:
            without_meaning(self._words(), "stream_model")
        self.parameters = _Own(
            Parameter(
                name=name, value=_folder(self._words(), name, value), type="directory", env_var=variable
            )
            for name, variable in (("model_path", MODEL_VARIABLE), ("draft_model_path", DRAFT_VARIABLE))
            if (value := getattr(self, name))
        )
        docs = Link("/docs", f"{self.type} OpenAPI Docs", is_relative=True)
        if docs not in self.links:  # a clone has it already
            self.links.insert(0, docs)

    def _check_paths(self) -> None:
        if bool(self.model_path) == bool(self.model_hf_path):
            raise ValueError(f"{self._words()} needs model_path or model_hf_path, one of them.")
        if self.draft_model_path and self.draft_model_hf_path:
            raise ValueError(f"{self._words()}: say draft_model_path or draft_model_hf_path, not both.")
        if self._draft and self.speculative_config is None:
            raise ValueError(
                f"{self._words()} has a draft model: say in speculative_config how it is to be used, such as "
                f"{self._speculative_example}."
            )

    @property
    def kind(self) -> Literal["asgi", "function", "command"]:
        """The host of a replica: the model server."""
        return "command"

    def words(self) -> list[str]:
        """The command that serves the model; ``$NAME`` in it is where a replica finds the weights."""
        return [*self._server_words(self._model), *self._speculative_words(), *self._extra_words()]

    def _extra_words(self) -> list[str]:
        return split_words(self._words(), self.extra_args)

    def _check_extra(self) -> None:
        extra = self.extra_args
        listed = isinstance(extra, (list, tuple)) and all(isinstance(word, str) for word in extra)
        if not isinstance(extra, str) and not listed:
            raise TypeError(f"{self._words()}: extra_args must be a str or a list of str, got {extra!r}.")
        own = {"--model"}.union(self._server_words(self._model), self._speculative_words())
        for word in self._extra_words():
            option = word.partition("=")[0].replace("_", "-")
            if option.startswith("--") and option in own:
                raise ValueError(
                    f"{self._words()}: extra_args can't say {option}: the environment does, by its own fields. Where a "
                    "replica listens is the replica's own."
                )

    def _register(self, hook: str, func: F) -> F:
        newer = hook == "on_update"  # a newer model needs a server that starts anew
        own = "use AppEnvironment for a server of your own"
        self._refuse(hook, "serve again to take a newer model" if newer else own)

    @property
    def _model(self) -> str:
        return self.model_hf_path or f"${MODEL_VARIABLE}"

    @property
    def _draft(self) -> str:
        return self.draft_model_hf_path or (f"${DRAFT_VARIABLE}" if self.draft_model_path else "")

    @abstractmethod
    def _server_words(self, model: str) -> list[str]:
        """The server's program and the options that it always has."""

    @abstractmethod
    def _speculative_words(self) -> list[str]:
        """The options that ``speculative_config`` and the draft model stand for."""

    def _check_draft_key(self, *keys: str) -> None:
        if self._draft and (given := sorted(set(keys) & set(self.speculative_config or ()))):
            raise ValueError(
                f"{self._words()}: speculative_config can't say {given[0]!r} beside a draft model: "
                "draft_model_path or draft_model_hf_path says it."
            )

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise ValueError(f"{what} cannot be set for {self._words()}: {instead}.")


class _Own(list[Parameter]):
    """The parameters that a kind has made itself."""


def _folder(owner: str, name: str, value: object) -> Dir[Any] | RunOutput:
    if isinstance(value, RunOutput):
        if value.type != "directory":
            raise ValueError(f'{owner}: {name} must be a RunOutput(type="directory"), got {value.type!r}.')
        if value.follow:
            raise ValueError(f"{owner}: {name} can't follow newer runs: the server reads its model once.")
        return value
    if isinstance(value, str):
        return Dir(path=value)
    if isinstance(value, Dir):
        return value
    raise TypeError(f"{owner}: {name} must be a str, a Dir or a RunOutput, got {value!r}.")


@dataclass(eq=False, repr=False, kw_only=True)
class VLLMAppEnvironment(LanguageModelEnvironment):
    """A language model served by ``vllm serve``, with an API as OpenAI's.

    Takes the fields of :class:`LanguageModelEnvironment`. ``speculative_config`` is what ``--speculative-config``
    takes, without ``model`` when there is a draft model.
    """

    _speculative_example: ClassVar[dict[str, Any]] = {"method": "eagle3", "num_speculative_tokens": 3}

    type: str | None = "vLLM"

    def _server_words(self, model: str) -> list[str]:
        words = ["vllm", "serve", model, "--served-model-name", self.model_id]
        return [*words, "--host", "$HOST", "--port", "$PORT"]

    def _speculative_words(self) -> list[str]:
        if self.speculative_config is None:
            return []
        self._check_draft_key("model")
        model = {"model": self._draft} if self._draft else {}
        return ["--speculative-config", json.dumps({**self.speculative_config, **model})]


@dataclass(eq=False, repr=False, kw_only=True)
class SGLangAppEnvironment(LanguageModelEnvironment):
    """A language model served by SGLang, with an API as OpenAI's.

    Takes the fields of :class:`LanguageModelEnvironment`. Each key of ``speculative_config`` becomes an option:
    ``{"algorithm": "EAGLE3"}`` is ``--speculative-algorithm EAGLE3``, and ``True`` an option without a value.

    Args:
        router: Put SGLang's cache-aware router in front of several workers: ``extra_args="--dp-size 4"``.
    """

    _speculative_example: ClassVar[dict[str, Any]] = {"algorithm": "EAGLE3"}

    type: str | None = "SGLang"
    router: bool = False

    def _server_words(self, model: str) -> list[str]:
        module = "sglang_router.launch_server" if self.router else "sglang.launch_server"
        words = ["python", "-m", module, "--model-path", model, "--served-model-name", self.model_id]
        words += ["--host", "$HOST", "--port", "$PORT"]
        return words if "--enable-metrics" in self._extra_words() else [*words, "--enable-metrics"]

    def _speculative_words(self) -> list[str]:
        self._check_draft_key("draft_model_path", "draft-model-path")
        draft = {"draft_model_path": self._draft} if self._draft else {}
        words: list[str] = []
        for key, value in {**(self.speculative_config or {}), **draft}.items():
            option = "--speculative-" + key.replace("_", "-").removeprefix("speculative-")
            if value is True:
                words.append(option)
            elif value is not False:
                words += [option, str(value)]
        return words
