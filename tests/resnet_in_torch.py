"""ResNet-34 in PyTorch, named as in torchvision: of images, and inflated."""

import torch
from torch import nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(axes, inputs, outputs, kernel, space_stride=1, time_stride=1):
    strides = (time_stride, space_stride, space_stride)[3 - axes :]
    return CONV[axes](
        inputs, outputs, kernel, strides, padding=kernel // 2, bias=False
    )


class Block(nn.Module):
    def __init__(self, axes, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv(axes, inputs, outputs, 3, stride)
        self.bn1 = NORM[axes](outputs)
        self.conv2 = conv(axes, outputs, outputs, 3)
        self.bn2 = NORM[axes](outputs)
        if stride > 1:
            self.downsample = nn.Sequential(
                conv(axes, inputs, outputs, 1, stride), NORM[axes](outputs)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        return torch.relu(x + y)


class ResNet34(nn.Module):
    def __init__(self, axes, classes=7, channels=3):
        super().__init__()
        self.conv1 = conv(axes, channels, 64, 7, 2, 2)
        self.bn1 = NORM[axes](64)
        pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[axes]
        self.maxpool = pool(3, 2, padding=1)
        self.pool2 = nn.Identity()
        if axes == 3:
            self.pool2 = pool((3, 1, 1), (2, 1, 1), padding=(1, 0, 0))
        inputs = 64
        for stage, blocks in enumerate((3, 4, 6, 3), 1):
            outputs = 64 * 2 ** (stage - 1)
            found = []
            for block in range(blocks):
                halve = stage > 1 and block == 0
                found.append(Block(axes, inputs, outputs, 2 if halve else 1))
                inputs = outputs
            setattr(self, f"layer{stage}", nn.Sequential(*found))
        self.fc = nn.Linear(512, classes)

    def features(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.pool2(self.layer1(x))
        return self.layer4(self.layer3(self.layer2(x)))
