"""ResNets (He et al. 2015) with torchvision's parameter names and strides, down to the last feature map."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from jetvla.engines.families.act.settings import Backbone

_EPSILON = 1e-5  # torchvision's FrozenBatchNorm2d
_WIDTHS = (64, 128, 256, 512)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by stored statistics, which training leaves alone."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and offset per channel."""
        scale = self.weight * (self.running_var + _EPSILON).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, offset = self.affine()
        return x * scale[:, None, None] + offset[:, None, None]


def _convolution(inside: int, outside: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _shortcut(inside: int, outside: int, stride: int) -> nn.Module | None:
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(_convolution(inside, outside, 1, stride), FrozenBatchNorm(outside))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(inside, width, 3, stride, dilation), FrozenBatchNorm(width)
        self.conv2, self.bn2 = _convolution(width, width, 3, 1, dilation), FrozenBatchNorm(width)
        self.downsample = _shortcut(inside, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the 3x3 one has the stride."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outside = width * self.expansion
        self.conv1, self.bn1 = _convolution(inside, width, 1), FrozenBatchNorm(width)
        self.conv2, self.bn2 = _convolution(width, width, 3, stride, dilation), FrozenBatchNorm(width)
        self.conv3, self.bn3 = _convolution(width, outside, 1), FrozenBatchNorm(outside)
        self.downsample = _shortcut(inside, outside, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + shortcut)


Block = type[BasicBlock] | type[Bottleneck]
# Kind of block, and how many of them each of the four layers has.
_KINDS: dict[Backbone, tuple[Block, tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Images [B, 3, H, W] to features [B, channels, ceil(H / stride), ceil(W / stride)].

    Args:
        kind: how deep.
        dilated: the last layer dilates instead of striding, so that ``stride`` is 16 and not 32. Its first block
            is not dilated, as in torchvision.
    """

    def __init__(self, kind: Backbone, dilated: bool) -> None:
        super().__init__()
        block, counts = _KINDS[kind]
        self.channels, self.stride = _WIDTHS[-1] * block.expansion, 16 if dilated else 32
        self.conv1, self.bn1 = _convolution(3, _WIDTHS[0], 7, 2), FrozenBatchNorm(_WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside = _WIDTHS[0]
        for number, (width, count) in enumerate(zip(_WIDTHS, counts, strict=True), 1):
            last = dilated and number == len(_WIDTHS)
            stride, dilation = (1 if number == 1 or last else 2), (2 if last else 1)
            outside = width * block.expansion
            first = block(inside, width, stride, 1)
            others = (block(outside, width, 1, dilation) for _ in range(count - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
            inside = outside

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(_WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x


def fold_batch_norms(module: nn.Module) -> None:
    """Put every batch normalisation of a ResNet into the convolution before it, in place."""
    for child in module.children():
        fold_batch_norms(child)
    names = [name for name, _ in module.named_children()]
    for before, name in pairwise(names):
        convolution, norm = module.get_submodule(before), module.get_submodule(name)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, FrozenBatchNorm):
            scale, offset = norm.affine()
            convolution.weight = nn.Parameter(convolution.weight.detach() * scale[:, None, None, None])
            convolution.bias = nn.Parameter(offset.clone())
            setattr(module, name, nn.Identity())
