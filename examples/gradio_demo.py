"""Serve a Gradio demo: give its Blocks, or a function that makes them.

    pip install '.[examples,ui]' && python examples/gradio_demo.py

The demo runs in the replica's own process, so its handlers may use `get_parameter`, call tasks and read outputs as
those of any other app. A browser stays on its replica.
"""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import flyteray as flyte
from flyteray.app.extras import GradioAppEnvironment


def demo() -> Any:
    import gradio as gr

    digits = load_digits()  # 1,797 handwritten digits of 8 by 8 pixels; the last 297 are held out
    classifier = KNeighborsClassifier().fit(digits.data[:1500], digits.target[:1500])

    def read(number: int) -> tuple[Any, str]:
        image = digits.images[1500 + number]
        large = (image / 16).repeat(20, axis=0).repeat(20, axis=1)
        return large, f"It reads {classifier.predict([image.ravel()])[0]}."

    return gr.Interface(
        read,
        gr.Slider(0, 296, value=0, step=1, label="Which of the held-out digits"),
        [gr.Image(label="The digit", height=200, width=200), gr.Textbox(label="What the model says")],
        live=True,
        title="Handwritten digits",
        flagging_mode="never",
    )


digits_demo = GradioAppEnvironment(name="digits-demo", demo=demo)


def main() -> None:
    print(flyte.serve(digits_demo).url)


if __name__ == "__main__":
    main()
