"""The step that ours is measured beside is the same step."""

import numpy as np
import torch
from keras import ops

from benchmarks import actx_in_torch
from benchmarks import train_step
from benchmarks.measuring import median_seconds
from tests.harness import assert_close


def test_pytorch_computes_the_same_losses(monkeypatch):
    monkeypatch.setattr(train_step, "CHANNELS", 16)
    clips, labels = train_step.make_pairs(batch=3, time=2)
    model = train_step.ActX(train_step.CLASSES, **train_step.SETTINGS)
    tensors = {key: ops.convert_to_tensor(x) for key, x in clips.items()}
    model.build({key: x.shape for key, x in tensors.items()})
    port = actx_in_torch.ActX(train_step.CLASSES, 16, **train_step.SETTINGS)
    kernels = [model.pooling.phi.kernel, model.pooling.psi.kernel]
    for weights, layer in (
        ([np.concatenate(kernels, axis=-1)], port.phi_and_psi),
        (model.pooling.theta.get_weights(), port.theta),
        (model.head.get_weights(), port.head),
    ):
        kernel = torch.tensor(np.squeeze(weights[0])).T
        layer.weight.data.copy_(kernel)
        if len(weights) > 1:
            layer.bias.data.copy_(torch.tensor(weights[1]))
    for kind, key, argument in (
        ("exact", "conjugate", "conjugate"),
        ("stored", "conjugate_similarity", "similarity"),
    ):
        outputs = model(train_step.pick(tensors, kind))
        logits, *losses = port(
            torch.tensor(clips["features"]),
            **{argument: torch.tensor(clips[key])},
        )
        assert_close(logits.detach().numpy(), outputs["logits"], 1e-4)
        for loss, name in zip(
            losses, ("similarity", "difference"), strict=True
        ):
            expected = ops.mean(outputs[f"{name}_loss"])
            assert_close(loss.detach().numpy(), expected, 1e-4)


def test_steps_learn(monkeypatch):
    monkeypatch.setattr(train_step, "CHANNELS", 16)
    clips, labels = train_step.make_pairs(batch=3, time=2)
    for make in (train_step.keras_step, train_step.torch_step):
        for kind in ("exact", "stored"):
            step = make(train_step.pick(clips, kind), labels, "float32")
            losses = [np.ravel(step())[0] for _ in range(20)]
            assert losses[-1] < losses[0]


def test_slow_runs_are_not_repeated():
    calls = {"fast": 0, "slow": 0}

    def count(name):
        calls[name] += 1

    runs = {name: lambda name=name: count(name) for name in calls}
    median_seconds({"fast": runs["fast"]}, repeats=3)
    median_seconds({"slow": runs["slow"]}, repeats=3, patience=0.0)
    assert calls == {"fast": 5, "slow": 2}
