"""ResNet and ResNeXt with torchvision's parameter names, so that its ImageNet files load; no torchvision needed.

He et al., CVPR 2016; Xie et al., CVPR 2017. The stride of a bottleneck sits in its 3x3 convolution (v1.5), as in
torchvision.
"""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from schemas import files
from schemas.errors import InputError
from trainers.parallel import BatchNorm2d


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What tells one ResNet from another."""

    block: Literal["basic", "bottleneck"]
    layers: tuple[int, int, int, int]
    groups: int = 1
    base_width: int = 64


PLANS: Mapping[str, Plan] = {
    "resnet18": Plan(block="basic", layers=(2, 2, 2, 2)),
    "resnet50": Plan(block="bottleneck", layers=(3, 4, 6, 3)),
    "resnext50_32x4d": Plan(block="bottleneck", layers=(3, 4, 6, 3), groups=32, base_width=4),
    "resnext101_32x8d": Plan(block="bottleneck", layers=(3, 4, 23, 3), groups=32, base_width=8),
}


def _conv(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    pad = kernel // 2
    return nn.Conv2d(n_in, n_out, kernel, stride, pad, groups=groups, bias=False)


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, n_in: int, width: int, stride: int, plan: Plan) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(n_in, width, 3, stride), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), BatchNorm2d(width)
        self.downsample = _shortcut(n_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, n_in, h, w) to (n, width, h / stride, w / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, (grouped) 3x3, 1x1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int, plan: Plan) -> None:
        super().__init__()
        inner, n_out = width * plan.base_width // 64 * plan.groups, width * 4
        self.conv1, self.bn1 = _conv(n_in, inner, 1), BatchNorm2d(inner)
        self.conv2 = _conv(inner, inner, 3, stride, plan.groups)
        self.bn2 = BatchNorm2d(inner)
        self.conv3, self.bn3 = _conv(inner, n_out, 1), BatchNorm2d(n_out)
        self.downsample = _shortcut(n_in, n_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, n_in, h, w) to (n, 4 width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    if n_in == n_out and stride == 1:
        return None
    return nn.Sequential(_conv(n_in, n_out, 1, stride), BatchNorm2d(n_out))


class ResNet(nn.Module):
    """A residual net; with `classes` it ends in ImageNet's classifier `fc`, else in its features."""

    def __init__(self, plan: Plan, classes: int | None = None) -> None:
        super().__init__()
        block = Basic if plan.block == "basic" else Bottleneck
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        n_in, widths = 64, (64, 128, 256, 512)
        for i, (width, count) in enumerate(zip(widths, plan.layers, strict=True)):
            blocks = []
            for b in range(count):
                blocks.append(block(n_in, width, 2 if i and b == 0 else 1, plan))
                n_in = width * block.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.channels = tuple(w * block.expansion for w in widths)
        self.fc = None if classes is None else nn.Linear(n_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns c2 … c5: (n, channels[i], h / s, w / s) for s = 4, 8, 16, 32."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        c2 = self.get_submodule("layer1")(x)
        c3 = self.get_submodule("layer2")(c2)
        c4 = self.get_submodule("layer3")(c3)
        return c2, c3, c4, self.get_submodule("layer4")(c4)

    def forward(self, x: Tensor) -> Tensor:
        """Returns c5, or the class scores (n, classes) of a net that has `fc`."""
        c5 = self.features(x)[3]
        return c5 if self.fc is None else self.fc(c5.mean((2, 3)))


def make_backbone(name: str, weights: str | None) -> ResNet:
    """Makes a backbone without classifier, with ImageNet weights where a URL names them.

    Raises:
        InputError: the file is no weights of this net.
    """
    net = ResNet(PLANS[name])
    if weights is not None:
        state = {k: v for k, v in _read_weights(weights).items() if not k.startswith("fc.")}
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                weights,
                f"does not fit {name} ({str(error)[:300]})",
                "Name torchvision's file for this backbone, or set weights: null",
            ) from error
    return net


def _read_weights(url: str) -> dict[str, Tensor]:
    data = files.read_bytes(url)
    try:
        if url.endswith(".safetensors"):
            return dict(safetensors.torch.load(data))
        # weights_only refuses pickled code: a stranger's .pth can hold nothing but tensors.
        return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        EOFError,
        OSError,
    ) as error:
        raise InputError(
            url, f"holds no weights ({str(error)[:200]})", "Name a .safetensors or .pth file"
        ) from error
