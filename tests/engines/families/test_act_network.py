"""The network against torch's own layers and the papers' formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from jetvla.engines.families.act.backbone import FrozenBatchNorm, ResNet, fold_batch_norms
from jetvla.engines.families.act.family import FAMILY
from jetvla.engines.families.act.network import ActNetwork, image_positions
from jetvla.engines.families.act.settings import ActSettings, ActSizes
from jetvla.engines.families.act.transformer import Attention, DecoderLayer, EncoderLayer
from jetvla.runtime.errors import ConfigError

WIDTH, HEADS, FEED = 16, 4, 40
ZEROS = (0.0, 0.0, 0.0)
MakeSettings = Callable[..., ActSettings]
MakeNetwork = Callable[[ActSettings], ActNetwork]


def sizes(**changes: object) -> ActSizes:
    return ActSizes.model_validate({"hidden": WIDTH, "heads": HEADS, "feed_forward": FEED, **changes})


def observation(settings: ActSettings, batch: int = 2) -> tuple[dict[str, Tensor], Tensor]:
    """Pictures of 16 squares each, so that they differ in more than noise, and states."""
    generator = torch.Generator().manual_seed(1)
    images = {}
    for camera in settings.cameras:
        squares = torch.randint(0, 256, (batch, 4, 4, 3), generator=generator, dtype=torch.uint8)
        tall = squares.repeat_interleave(camera.height // 4, dim=1)
        images[camera.name] = tall.repeat_interleave(camera.width // 4, dim=2)
    return images, torch.randn(batch, 3, generator=generator)


def shuffled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_without_positions_the_layers_are_torch_s_transformer_layers(pre_norm: bool, activation: str) -> None:
    options = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": pre_norm}
    x, memory = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    here, there = torch.zeros(1, 5, WIDTH), torch.zeros(1, 7, WIDTH)
    chosen = sizes(pre_norm=pre_norm, activation=activation)
    encoder = shuffled(nn.TransformerEncoderLayer(WIDTH, HEADS, FEED, **options))
    decoder = shuffled(nn.TransformerDecoderLayer(WIDTH, HEADS, FEED, **options))
    own_encoder, own_decoder = EncoderLayer(chosen), DecoderLayer(chosen)
    own_encoder.load_state_dict(encoder.state_dict())
    own_decoder.load_state_dict(decoder.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(own_encoder(x, here), encoder(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own_decoder(x, memory, here, there), decoder(x, memory), atol=1e-5, rtol=1e-5)


def test_positions_are_added_to_queries_and_keys_and_not_to_values() -> None:
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    shuffled(theirs)
    own = Attention(WIDTH, HEADS)
    own.load_state_dict(theirs.state_dict())
    x, memory = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    here, there = torch.randn(1, 5, WIDTH), torch.randn(1, 7, WIDTH)
    with torch.no_grad():
        expected = theirs(x + here, memory + there, memory, need_weights=False)[0]
        torch.testing.assert_close(own(x, memory, here, there), expected, atol=1e-5, rtol=1e-5)


def test_image_positions_are_sines_and_cosines_of_row_and_column() -> None:
    height, width, channels = 3, 5, 8
    positions = image_positions(height, width, channels).view(height, width, channels)
    for row, column, channel in ((0, 0, 0), (2, 1, 3), (1, 4, 4), (2, 4, 7)):
        place, count = (row, height) if channel < 4 else (column, width)
        index = channel % 4
        angle = 2 * math.pi * (place + 1) / count / 10000 ** (2 * (index // 2) / 4)
        wave = math.cos(angle) if index % 2 else math.sin(angle)
        assert positions[row, column, channel].item() == pytest.approx(wave, abs=1e-5)


def test_a_frozen_batch_norm_is_a_batch_norm_in_evaluation() -> None:
    theirs, own = nn.BatchNorm2d(6).eval(), FrozenBatchNorm(6)
    for tensor in (theirs.weight.data, theirs.bias.data, theirs.running_mean):
        assert tensor is not None
        tensor.normal_()
    assert theirs.running_var is not None
    theirs.running_var.uniform_(0.1, 2.0)
    own.load_state_dict({name: tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name})
    x = torch.randn(2, 6, 4, 5)
    torch.testing.assert_close(own(x), theirs(x), atol=1e-5, rtol=1e-5)
    assert not list(own.parameters())


@pytest.mark.parametrize(
    ("kind", "dilated", "channels", "stride", "convolutions"),
    [("resnet18", False, 512, 32, 20), ("resnet34", False, 512, 32, 36), ("resnet50", True, 2048, 16, 53)],
)
def test_the_backbone_is_a_resnet(kind: str, dilated: bool, channels: int, stride: int, convolutions: int) -> None:
    with torch.device("meta"):
        network = ResNet(kind, dilated)  # type: ignore[arg-type]
        features = network(torch.empty(1, 3, 100, 64))
    assert features.shape == (1, channels, math.ceil(100 / stride), math.ceil(64 / stride))
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(found) == convolutions
    last = [m for name, m in network.named_modules() if name.startswith("layer4") and name.endswith("conv2")]
    assert [m.dilation[0] for m in last] == [1] + [2 if dilated else 1] * (len(last) - 1)
    fourth = network.get_submodule("layer4")
    assert max(m.stride[0] for m in fourth.modules() if isinstance(m, nn.Conv2d)) == (1 if dilated else 2)


def test_folding_batch_norms_changes_nothing_but_the_number_of_operations() -> None:
    torch.manual_seed(0)
    network = ResNet("resnet50", True).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm):
            module.weight.uniform_(0.5, 1.0)
            module.running_var.uniform_(0.5, 2.0)
            module.running_mean.normal_(std=0.2)
            module.bias.normal_(std=0.2)
    x = torch.randn(1, 3, 32, 32)
    before = network(x)
    fold_batch_norms(network)
    assert not [module for module in network.modules() if isinstance(module, FrozenBatchNorm)]
    torch.testing.assert_close(network(x), before, atol=1e-4, rtol=1e-4)


def test_samples_of_a_batch_do_not_see_each_other(act_settings: MakeSettings, random_act: MakeNetwork) -> None:
    settings = act_settings(cameras=("left", "right"))
    network = random_act(settings)
    images, state = observation(settings, 3)
    together = network(images, state)
    assert together.shape == (3, 5, 2)
    for i in range(3):
        alone = network({name: image[i : i + 1] for name, image in images.items()}, state[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_every_camera_is_seen_with_its_own_normalisation(act_settings: MakeSettings, random_act: MakeNetwork) -> None:
    settings = act_settings(cameras=("left", "right"))
    network = random_act(settings)
    images, state = observation(settings)
    pixels = []
    for name in ("left", "right"):
        mean, std = (
            torch.tensor(part).view(3, 1, 1) for part in (settings.images[name].mean, settings.images[name].std)
        )
        pixels.append((images[name].permute(0, 3, 1, 2) / 255 - mean) / std)
    numbers = (state - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.0, -1.0, 0.5])
    torch.testing.assert_close(network(images, state), network.model(torch.cat(pixels), numbers), atol=1e-5, rtol=1e-5)
    exchanged = {"left": images["right"], "right": images["left"]}
    assert (network(exchanged, state) - network(images, state)).abs().max() > 1e-3


def test_the_order_of_the_cameras_has_no_influence(act_settings: MakeSettings, random_act: MakeNetwork) -> None:
    """All have the same positions."""
    settings = act_settings(cameras=("left", "right"))
    swapped = act_settings(cameras=("right", "left"), images=settings.images)
    images, state = observation(settings)
    seen = random_act(settings)(images, state)
    torch.testing.assert_close(random_act(swapped)(images, state), seen, atol=1e-5, rtol=1e-5)
    for name in images:
        changed = {**images, name: 255 - images[name]}
        assert (random_act(settings)(changed, state) - seen).abs().max() > 1e-3


def test_the_state_matters_and_can_be_left_out(act_settings: MakeSettings, random_act: MakeNetwork) -> None:
    settings = act_settings()
    network = random_act(settings)
    images, state = observation(settings)
    assert (network(images, state) - network(images, state + 1)).abs().max() > 1e-3
    blind = act_settings(state=(), state_normalization={})
    network = random_act(blind)
    assert network(images, None).shape == (2, 5, 2)
    names = network.state_dict()
    assert not [name for name in names if "robot_state" in name]
    assert names["model.encoder_1d_feature_pos_embed.weight"].shape == (1, 16)


@pytest.mark.parametrize(
    "change",
    [
        {"pre_norm": True},
        {"activation": "gelu"},
        {"heads": 4},
        {"encoder_layers": 1},
        {"decoder_layers": 2},
        {"backbone": "resnet34"},
    ],
)
def test_every_size_changes_the_result(
    act_settings: MakeSettings, random_act: MakeNetwork, change: dict[str, object]
) -> None:
    plain, changed = random_act(act_settings()), random_act(act_settings(model=change))
    # The same weights, wherever both have one.
    common = {n: t for n, t in plain.state_dict().items() if n in changed.state_dict()}
    changed.load_state_dict(common, strict=False)
    images, state = observation(act_settings())
    assert (plain(images, state) - changed(images, state)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": {"heads": 3}}, "heads 3 does not divide hidden 16"),
        ({"model": {"hidden": 18, "heads": 3}}, "hidden is 18; the position embedding needs a multiple of 4"),
        ({"model": {"dilated": True}}, "resnet18 cannot be dilated"),
        ({"images": {"back": {}}}, r"images: needs one entry for each camera \(front\)"),
        ({"cameras": ({"name": "a", "height": 9, "width": 9}, {"name": "b", "height": 9, "width": 8})}, "same height"),
        ({"state_normalization": {"mean": (0.0,), "std": (1.0,)}}, "each must have 3 numbers, as state has"),
        (
            {"state_normalization": {"mean": (0.0,) * 3, "std": (1.0, 0.0, 1.0), "offset": (0.0,) * 3}},
            "a std of an image or a state is 0",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    act_settings: MakeSettings, keys: dict[str, object], message: str
) -> None:
    raw = {**act_settings(cameras=("a", "b") if "cameras" in keys else ("front",)).model_dump(), **keys}
    raw["model"] = {**act_settings().model.model_dump(), **raw["model"]}
    with pytest.raises(ConfigError, match=message):
        FAMILY.settings(raw, "config.yaml")
