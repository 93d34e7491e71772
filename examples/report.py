"""Show what a task does while it does it, and what it found: a report.

    python examples/report.py
    flyteray run --name learning examples/report.py train --epochs 5
    flyteray get report learning | grep -o '<h2>.*</h2>'

A report is one HTML page: text, tables, figures and images in tabs. `flyteray get report learning --open` shows it in a
browser, also while the task runs and when it has failed.
"""

from __future__ import annotations

from html import escape

from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

import flyteray as flyte

env = flyte.TaskEnvironment(name="learning", resources=flyte.Resources(cpu=1, memory="500Mi"))


def curve(accuracies: list[float]) -> Figure:
    figure = Figure(figsize=(6, 3))
    axes = figure.add_subplot(xlabel="epoch", ylabel="accuracy", ylim=(0, 1))
    axes.plot(range(1, len(accuracies) + 1), accuracies, marker="o")
    return figure


@env.task(report=True)
def train(epochs: int) -> float:
    """Learn to read digits, one look at all of them after the other."""
    pictures, digits = load_digits(return_X_y=True)
    rows, held_out, labels, truth = train_test_split(pictures, digits, random_state=7)
    model = SGDClassifier(random_state=7)
    accuracies: list[float] = []
    for epoch in range(1, epochs + 1):
        model.partial_fit(rows, labels, classes=range(10))
        accuracies.append(float(model.score(held_out, truth)))
        flyte.report.replace(f"<h2>Epoch {epoch} of {epochs}: {accuracies[-1]:.1%}</h2>")
        flyte.report.log(curve(accuracies), do_flush=True)  # from now on everybody sees it
    table = classification_report(truth, model.predict(held_out))
    flyte.report.get_tab("digits").log(f"<pre>{escape(table)}</pre>")
    flyte.report.get_tab("model").log(model)  # as a notebook would show it
    return accuracies[-1]


def main() -> None:
    run = flyte.run(train, epochs=5)
    print(f"Accuracy: {run.outputs()[0]:.3f}")
    print(f"Report:   {len(run.get_report()) // 1024} KiB of HTML with all that it needs")


if __name__ == "__main__":
    main()
