"""The network against torch's own transformer, and the two graphs against the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from jetvla.engines.families import find_family
from jetvla.engines.families.end_to_end.fusion import CourseFusion, Fusion, TextContext
from jetvla.engines.families.end_to_end.network import EndToEndVLA
from jetvla.engines.families.end_to_end.settings import BASE, TINY, EndToEndSettings, FusionSettings
from jetvla.engines.families.settings import ActionNormalization
from jetvla.engines.policy import Policy
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.errors import ConfigError

WIDTH, HEADS, FEED, LAYERS = 24, 4, 48, 3
SIZES = FusionSettings(layers=LAYERS, heads=HEADS, feed_forward=FEED)


def course_encoder(batch_first: bool) -> nn.TransformerEncoder:
    """As the course makes it; it leaves ``batch_first`` out."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED, batch_first=batch_first)
    encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder


def tokens(batch: int) -> tuple[Tensor, TextContext]:
    torch.manual_seed(1)
    mask = torch.ones(batch, 6)
    mask[0, 4:] = 0
    return torch.randn(batch, 5, WIDTH), TextContext(torch.randn(batch, 6, WIDTH), mask)


def observation(policy: Policy, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    camera = policy.settings.cameras[0]
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (batch, camera.height, camera.width, 3), generator=generator, dtype=torch.uint8)
    words = ["pick up the red block", "move to the blue block", "pick up"]
    return (images, *policy.encode(words[:batch]))


@pytest.fixture(scope="module")
def course_policy() -> Policy:
    return random_policy("tiny", Declared(attention="course"))


def test_course_attention_computes_what_the_course_code_computes() -> None:
    encoder, fusion = course_encoder(batch_first=False), CourseFusion(WIDTH, SIZES).eval()
    fusion.load_state_dict(encoder.state_dict())
    for batch in (1, 4):
        vision, text = tokens(batch)
        with torch.no_grad():
            # The course's forward, to the letter: text is not masked, and [B, S, C] is taken for [S, B, C].
            theirs = encoder(torch.cat([vision, text.features], dim=1))[:, 0, :]
            torch.testing.assert_close(fusion(vision, text), theirs, atol=1e-5, rtol=1e-5)


def test_corrected_attention_is_a_masked_transformer_over_the_sequence() -> None:
    encoder, fusion = course_encoder(batch_first=True), Fusion(WIDTH, SIZES).eval()
    fusion.load_state_dict(encoder.state_dict())
    vision, text = tokens(4)
    padding = torch.cat([torch.zeros(4, 5), 1 - text.mask], dim=1).bool()
    with torch.no_grad():
        theirs = encoder(torch.cat([vision, text.features], dim=1), src_key_padding_mask=padding)[:, 0, :]
        torch.testing.assert_close(fusion(vision, text), theirs, atol=1e-5, rtol=1e-5)


def test_padding_has_no_influence(policy: Policy) -> None:
    images, ids, mask = observation(policy, 1)
    changed = torch.where(mask == 0, torch.full_like(ids, 7), ids)
    assert (changed != ids).any()
    with torch.no_grad():
        torch.testing.assert_close(policy.network(images, changed, mask), policy.network(images, ids, mask))


def test_corrected_samples_do_not_see_each_other(policy: Policy) -> None:
    images, ids, mask = observation(policy)
    with torch.no_grad():
        together = policy.network(images, ids, mask)
        alone = torch.cat([policy.network(images[i : i + 1], ids[i : i + 1], mask[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_instruction_matters_only_when_corrected(policy: Policy, course_policy: Policy) -> None:
    for made, matters in ((policy, True), (course_policy, False)):
        images, ids, mask = observation(made)
        same = images[:1]
        with torch.no_grad():
            red, blue = (made.network(same, ids[i : i + 1], mask[i : i + 1]) for i in (0, 1))
        assert bool((red - blue).abs().max() > 1e-4) is matters


def test_repeated_instructions_are_read_once_with_the_same_result(policy: Policy) -> None:
    network = policy.network
    assert isinstance(network, EndToEndVLA)
    _, ids, mask = observation(policy)
    rows = torch.tensor([2, 0, 2, 1])
    with torch.no_grad():
        once, each = network.read_once(ids[rows], mask[rows]), network.read(ids[rows], mask[rows])
    torch.testing.assert_close(once.features, each.features)
    torch.testing.assert_close(once.mask, each.mask)


def test_images_are_seen_as_transformers_sees_them(policy: Policy) -> None:
    network = policy.network
    assert isinstance(network, EndToEndVLA)
    images, _, _ = observation(policy)
    pixels = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.no_grad():
        theirs = network.vision_projection(network.vision_encoder(pixel_values=pixels).last_hidden_state)
        torch.testing.assert_close(network.see(images), theirs)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("attention", ["corrected", "course"])
def test_the_two_graphs_together_are_the_network(policy: Policy, attention: str, layers: int) -> None:
    fusion = TINY.fusion.model_copy(update={"layers": layers})
    settings = EndToEndSettings.model_validate(
        {**policy.settings.model_dump(), "attention": attention, "model": TINY.model_copy(update={"fusion": fusion})}
    )
    family = find_family("end_to_end")
    torch.manual_seed(3)
    network = family.network(settings, policy.text.size).eval()
    actions = ActionNormalization(mean=(1.0,) * 7, std=(2.0,) * 7)
    language, step = family.export_plan(network, settings, actions).graphs
    images, ids, mask = observation(policy)
    with torch.no_grad():
        for i in (slice(0, 1), slice(1, 2)):
            split = step.module(images[i], *language.module(ids[i], mask[i]))
            torch.testing.assert_close(split, network(images[i], ids[i], mask[i]) * 2 + 1, atol=1e-5, rtol=1e-5)


def test_the_base_size_is_the_reference() -> None:
    settings = random_policy("tiny", Declared()).settings.model_dump()
    base = EndToEndSettings.model_validate(
        {**settings, "model": BASE, "cameras": [{"name": "front", "height": 224, "width": 224}]}
    )
    with torch.device("meta"):
        state = EndToEndVLA(base).state_dict()
    assert state["vision_encoder.embeddings.position_embeddings"].shape == (1, 197, 768)
    assert state["language_encoder.embeddings.word_embeddings.weight"].shape == (128100, 768)
    assert state["language_encoder.encoder.rel_embeddings.weight"].shape == (512, 768)
    assert state["fusion.layers.5.linear1.weight"].shape == (2048, 768)
    assert state["action_head.3.weight"].shape == (7, 768)
    assert not any("projection" in name for name in state if not name.startswith("vision_encoder"))
    assert not any("pos_key_proj" in name for name in state)


def test_settings_name_every_mistake() -> None:
    raw = {**random_policy("tiny", Declared()).settings.model_dump(mode="json"), "horizn": 1, "dt_s": -1}
    with pytest.raises(ConfigError) as caught:
        find_family("end_to_end").settings(raw, "config.yaml")
    assert "config.yaml: " in str(caught.value)
    assert "horizn" in str(caught.value)
    assert "dt_s" in str(caught.value)


def test_a_tokenizer_that_is_too_large_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="64, and the tokenizer has 65 ids"):
        policy.family.network(policy.settings, 65)


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'rt2' is unknown; choose one of: end_to_end"):
        find_family("rt2")
