"""SGLang serves a language model as an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from flyteray.app.extras.language_model import LanguageModelEnvironment


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
