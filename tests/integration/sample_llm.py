"""``ray.serve.llm`` with a stand-in for the engine.

It can be imported only where vLLM or SGLang is installed, for the classes of their requests and answers. These are
made here, so that all else is Ray's: its builder, its OpenAI-compatible ingress deployment, its server of a model.
"""

import json
import sys
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict

from flyteray.app.extras import ServeAppEnvironment

_PROTOCOL = "sglang.srt.entrypoints.openai.protocol"
_CLASSES = (
    *("ChatCompletionRequest", "ChatCompletionResponse", "ChatCompletionStreamResponse"),
    *("CompletionRequest", "CompletionResponse", "CompletionStreamResponse"),
    *("DetokenizeRequest", "DetokenizeResponse", "TokenizeRequest", "TokenizeResponse"),
    *("EmbeddingRequest", "EmbeddingResponse", "ScoringRequest", "ScoringResponse"),
)


class Words(BaseModel):
    """The fields that any of the classes may have."""

    model_config = ConfigDict(extra="allow")

    model: str = ""
    stream: bool = False


def stand_in() -> None:
    """Put modules of SGLang's names in place."""
    names = _PROTOCOL.split(".")
    for depth in range(1, len(names) + 1):
        sys.modules.setdefault(".".join(names[:depth]), ModuleType(names[depth - 1]))
    for name in _CLASSES:
        setattr(sys.modules[_PROTOCOL], name, type(name, (Words,), {"__module__": _PROTOCOL}))


stand_in()
from ray.serve.llm import LLMConfig, LLMServer, build_openai_app  # noqa: E402
from ray.serve.llm.openai_api_models import ChatCompletionResponse  # noqa: E402


class EchoEngine:
    """Answers with the words that it was asked."""

    def __init__(self, config: LLMConfig) -> None:
        self.config = config

    async def start(self) -> None: ...

    async def check_health(self) -> None: ...

    def routing_stats(self) -> dict[str, Any]:
        return {}

    async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        said = request.messages[-1]["content"]
        if request.stream:
            for word in said.split():
                yield f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n"
            yield "data: [DONE]\n\n"
        else:
            yield ChatCompletionResponse(
                choices=[{"message": {"role": "assistant", "content": said}}], model=request.model
            )


class EchoServer(LLMServer):
    _default_engine_cls = EchoEngine

    @classmethod
    def get_deployment_options(cls, llm_config: LLMConfig) -> dict[str, Any]:
        return {"num_replicas": 1}


def model(name: str) -> LLMConfig:
    return LLMConfig(model_loading_config={"model_id": name}, server_cls=EchoServer)


language = ServeAppEnvironment(
    name="language", app=build_openai_app({"llm_configs": [model("echo"), model("other")]})
)
