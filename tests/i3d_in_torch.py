"""I3D in PyTorch, written from the checkpoint's names: an independent check.

Its modules are named as in the port with `Mixed_3b.b1a`; `renamed` gives the
state dictionary the names of the port with `mixed_3b.branch_1.0`.
"""

import re

import torch
from torch import nn
from torch.nn import functional

BLOCKS = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def pad_same(x, kernel, stride, value=0.0):
    """TensorFlow's "SAME": the odd voxel of padding comes last."""
    pads = []
    for size, k, s in zip(
        x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True
    ):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=value)


class Unit(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, norm=True):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=not norm)
        if norm:
            self.bn = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x):
        x = pad_same(x, self.conv3d.kernel_size, self.conv3d.stride)
        return torch.relu(self.bn(self.conv3d(x)))


def pool(x, kernel, stride):
    x = pad_same(x, kernel, stride, value=-torch.inf)
    return functional.max_pool3d(x, kernel, stride)


class Block(nn.Module):
    def __init__(self, inputs, b0, b1a, b1b, b2a, b2b, b3b):
        super().__init__()
        self.b0 = Unit(inputs, b0, 1)
        self.b1a = Unit(inputs, b1a, 1)
        self.b1b = Unit(b1a, b1b, 3)
        self.b2a = Unit(inputs, b2a, 1)
        self.b2b = Unit(b2a, b2b, 3)
        self.b3b = Unit(inputs, b3b, 1)

    def forward(self, x):
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        branches = (
            self.b0(x),
            self.b1b(self.b1a(x)),
            self.b2b(self.b2a(x)),
            self.b3b(pooled),
        )
        return torch.cat(branches, dim=1)


class InceptionI3d(nn.Module):
    def __init__(self, classes=400, channels=3):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(channels, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        for name, sizes in BLOCKS.items():
            setattr(self, name, Block(*sizes))
        self.logits = Unit(1024, classes, 1, norm=False)

    def features(self, x):
        x = pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = pool(
            self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2)
        )
        for name in BLOCKS:
            if name == "Mixed_4b":
                x = pool(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                x = pool(x, (2, 2, 2), (2, 2, 2))
            x = getattr(self, name)(x)
        return x

    def forward(self, x):
        """The logits, as the released network has them: for 224 x 224."""
        x = functional.avg_pool3d(self.features(x), (2, 7, 7), 1)
        return self.logits.conv3d(x).mean(dim=(2, 3, 4))


def randomize(model, seed=0):
    """Values of a trained network's size, statistics of the norm too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            elif name.endswith(("bn.weight", "running_var")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.2, generator=generator)
    return model.eval()


def renamed(state):
    """The same state dictionary in the names of the other port."""
    renames = {
        "b0": "branch_0",
        "b1a": "branch_1.0",
        "b1b": "branch_1.1",
        "b2a": "branch_2.0",
        "b2b": "branch_2.1",
        "b3b": "branch_3.1",
    }

    def rename(name):
        name = name.replace("logits.", "conv3d_0c_1x1.")
        name = name.replace(".bn.", ".batch3d.")
        first, _, rest = name.partition(".")
        rest = re.sub(r"^b\d[ab]?", lambda found: renames[found[0]], rest)
        return f"{first.lower()}.{rest}"

    return {rename(name): tensor for name, tensor in state.items()}
