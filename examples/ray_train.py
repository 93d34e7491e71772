"""Train on several processes with Ray Train in a task: two workers of PyTorch, whose CPUs are counted once.

    pip install "ray[train]" torch
    python examples/ray_train.py

Each worker reserves its CPU; the task waits for them and reserves none. The task returns what the first one reports.
"""

from __future__ import annotations

import tempfile

import ray.train
import ray.train.torch
import torch

import flyteray as flyte

env = flyte.TaskEnvironment(name="lines", resources=flyte.Resources(cpu=0))


def fit_line(settings: dict[str, int]) -> None:
    rank = ray.train.get_context().get_world_rank()
    x = torch.linspace(0, 1, 100)[rank::2].unsqueeze(1)  # each has its share
    y = 3 * x + 1
    model = ray.train.torch.prepare_model(torch.nn.Linear(1, 1))  # gradients are averaged over the workers
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(settings["steps"]):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    slope, offset = (float(each) for each in model.parameters())
    found = {"slope": slope, "offset": offset, "workers": ray.train.get_context().get_world_size()}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:  # one of them is enough: all have found the same
            torch.save(model.state_dict(), f"{folder}/line.pt")
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(found, checkpoint=checkpoint)


@env.task
def train(steps: int) -> dict[str, int | float]:
    trainer = ray.train.torch.TorchTrainer(
        fit_line,
        train_loop_config={"steps": steps},
        scaling_config=ray.train.ScalingConfig(num_workers=2),
        run_config=ray.train.RunConfig(storage_path=flyte.ctx().raw_data_path.path),
    )
    return dict(trainer.fit().metrics or {})


def main() -> None:
    found = flyte.run(train, steps=200).outputs()[0]
    print(f"Found by {found['workers']} workers: y = {found['slope']:.2f} x + {found['offset']:.2f}")


if __name__ == "__main__":
    main()
