"""A training step of I3D and ActX, end to end, beside PyTorch's.

    python -m benchmarks.fine_tune_step

Speed: pairs of clips of --frames frames of --size x --size go through the same
network in both: I3D with frozen batch normalization, the attention, the
matching and all of their losses, whose gradient flows through both clips. Adam
trains all weights. PyTorch's I3D is the one of the tests, in two layouts; its
ActX is benchmarks/actx_in_torch.py. Keras' step is that of `fit`, in a graph,
PyTorch's is eager. Medians of steps that alternate.

Memory: each step in a process of its own for each of --lengths. "step" is what
its peak grows by over a step of 8 frames, which has the weights, the optimizer
and the libraries. "recomputed" is `Backbone.recompute_activations`.
"""

import argparse

from benchmarks import measuring

CLASSES = 8
SETTINGS = {"rho": 30.0, "alpha": 1.0, "beta": 1.0, "gamma": 20.0}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=1, help="pairs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="*", default=[16, 32, 64])
    parser.add_argument(
        "--steps", nargs="*", choices=STEPS, metavar="STEP", default=[*STEPS]
    )
    arguments = parser.parse_args()
    batch, size = arguments.batch, arguments.size
    shape = (batch, arguments.frames, size, size, 3)
    compare_speed(arguments.steps, shape, arguments.repeats)
    shapes = [(batch, length, size, size, 3) for length in arguments.lengths]
    measure_memory(arguments.steps, shapes)


def compare_speed(names, shape, repeats):
    makers = {
        name: lambda name=name: STEPS[name](*make_pairs(shape))
        for name in names
    }
    runs, errors = measuring.keep_those_that_run(makers)
    seconds = measuring.median_seconds(runs, repeats)
    fastest = min(
        (x for name, x in seconds.items() if name in PYTORCH),
        default=float("nan"),
    )
    print(f"\n{measuring.device_name()}, pairs of {shape}\n")
    measuring.print_head("", "s", "the faster PyTorch's / it")
    for name in makers:
        if name in errors:
            measuring.print_row(name, errors[name], "")
            continue
        ratio = fastest / seconds[name]
        measuring.print_row(name, f"{seconds[name]:.3f}", f"{ratio:.2f}")


def measure_memory(names, shapes):
    if not shapes:
        return
    print("\nPeak memory, MiB\n")
    measuring.print_head("", "frames", "process", "step")
    for name in names:
        shortest = (shapes[0][0], 8, *shapes[0][2:])
        base = measuring.in_new_process(peak_of, name, shortest)
        for shape in shapes:
            peak = measuring.in_new_process(peak_of, name, shape)
            measuring.print_row(
                name, f"{shape[1]}", f"{peak:.0f}", f"{peak - base:.0f}"
            )


def peak_of(name, shape):
    """Returns the most memory that this process held for two steps, in MiB."""
    step = STEPS[name](*make_pairs(shape))
    measuring.wait(step())
    measuring.wait(step())
    return measuring.peak_mebibytes("torch" if name in PYTORCH else None)


def make_pairs(shape):
    """Clips and conjugates, uint8, and labels."""
    import numpy as np

    random = np.random.default_rng(0)
    clips, conjugates = (
        random.integers(0, 256, shape, np.uint8) for _ in range(2)
    )
    return clips, conjugates, np.arange(shape[0]) % CLASSES


def keras_step(clips, conjugates, labels, recompute=False):
    import keras
    import numpy as np
    from keras import ops

    from actx_tf.backbones import InceptionI3D
    from actx_tf.experiments.trained_layers import choose_trained
    from actx_tf.models import ActX

    backbone = InceptionI3D(False, None, (None, *clips.shape[2:]))
    choose_trained(backbone)
    if recompute:
        backbone.recompute_activations()
    model = ActX(CLASSES, **SETTINGS, backbone=backbone)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pair = {"features": clips, "conjugate": conjugates}
    pair = {key: ops.convert_to_tensor(x) for key, x in pair.items()}
    labels = ops.convert_to_tensor(labels)
    return lambda: np.array(model.train_on_batch(pair, labels))


def recomputed_step(clips, conjugates, labels):
    return keras_step(clips, conjugates, labels, recompute=True)


def torch_step(clips, conjugates, labels, layout="contiguous_format"):
    import torch
    from torch import nn

    from benchmarks import actx_in_torch
    from tests.i3d_in_torch import InceptionI3d
    from tests.i3d_in_torch import randomize

    layout = getattr(torch, layout)

    class EndToEnd(nn.Module):
        def __init__(self):
            super().__init__()
            self.i3d = randomize(InceptionI3d()).to(memory_format=layout)
            del self.i3d.logits
            self.actx = actx_in_torch.ActX(
                CLASSES, 1024, **SETTINGS, trained=True
            )

        def features(self, clips):
            x = (clips.float() / 127.5 - 1).permute(0, 4, 1, 2, 3)
            x = x.contiguous(memory_format=layout)
            return self.i3d.features(x).permute(0, 2, 3, 4, 1)

        def forward(self, features, conjugate):
            return self.actx(self.features(features), self.features(conjugate))

    model = EndToEnd()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.requires_grad_(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    step = actx_in_torch.make_step(model)
    clips, conjugates, labels = (
        torch.tensor(x, device=device) for x in (clips, conjugates, labels)
    )
    return lambda: step(labels, features=clips, conjugate=conjugates)


def torch_channels_last_step(clips, conjugates, labels):
    return torch_step(clips, conjugates, labels, "channels_last_3d")


PYTORCH = {
    "PyTorch": torch_step,
    "PyTorch, channels last": torch_channels_last_step,
}
STEPS = {
    "fine_tune": keras_step,
    "fine_tune, recomputed": recomputed_step,
    **PYTORCH,
}


if __name__ == "__main__":
    main()
