"""vLLM serves a language model as an app."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from flyteray.app.extras.language_model import LanguageModelEnvironment


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
