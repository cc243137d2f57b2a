from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jetvla.calibration.episodes import open_episodes, write_episode
from jetvla.engines.checkpoint import load_checkpoint
from jetvla.engines.policy import Policy
from jetvla.engines.text import word_tokenizer
from jetvla.engines.training.augment import jitter, mirrored, paraphrased
from jetvla.engines.training.batches import Batches
from jetvla.engines.training.samples import (
    Samples,
    action_statistics,
    check_dimensions,
    recorded_actions,
    split_episodes,
)
from jetvla.engines.training.settings import AugmentSettings, FlipSettings, training_settings
from jetvla.engines.training.trainer import Trainer, schedule
from jetvla.runtime.errors import CheckpointError, ConfigError, EpisodeError
from jetvla.runtime.preprocess import resize


def settings(policy: Policy, **loop: Any) -> Any:
    raw = policy.settings.model_dump(mode="json")
    raw["model"]["language"]["vocab_size"] = 0
    defaults = {"epochs": 2, "batch_size": 6, "held_out": 0.25, "checkpoint_every": 2}
    return training_settings({"policy": raw, "training": {**defaults, **loop}}, "train.yaml", {})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).network.state_dict()


def test_training_learns_and_leaves_a_checkpoint(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    long = settings(policy, epochs=20, learning_rate=3e-3, checkpoint_every=1000)
    trainer = Trainer(long, open_episodes(episodes), tmp_path / "run")
    reports = list(trainer.run())
    assert [r.step for r in reports] == list(range(1, 61))
    assert np.mean([r.loss for r in reports[-6:]]) < 0.3 * np.mean([r.loss for r in reports[:6]])
    assert [r.step for r in reports if r.held_out is not None] == list(range(3, 61, 3))
    loaded = load_checkpoint(tmp_path / "run")
    assert loaded.text is not None
    assert loaded.text.size == trainer.policy.settings.model.language.vocab_size  # type: ignore[attr-defined]
    dark = {policy.settings.cameras[0].name: np.zeros((32, 32, 3), np.uint8)}
    np.testing.assert_array_equal(loaded.act(dark, None, "pick up"), trainer.policy.act(dark, None, "pick up"))
    assert (tmp_path / "run" / "training" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_is_exactly_the_uninterrupted_one(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    whole = Trainer(settings(policy), open_episodes(episodes), tmp_path / "whole")
    losses = [r.loss for r in whole.run()]
    stopped = Trainer(settings(policy), open_episodes(episodes), tmp_path / "stopped").run()
    first = [next(stopped).loss for _ in range(5)]
    torch.manual_seed(99)
    resumed = Trainer(settings(policy), open_episodes(episodes), tmp_path / "stopped")
    resumed.resume()
    assert resumed.step == 4
    assert first[:4] + [r.loss for r in resumed.run()] == losses
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_resuming_something_else_is_refused(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        Trainer(settings(policy), open_episodes(episodes), tmp_path).resume()
    Trainer(settings(policy), open_episodes(episodes), tmp_path).save()
    with pytest.raises(ConfigError, match="other settings or episodes"):
        Trainer(settings(policy, seed=1), open_episodes(episodes), tmp_path).resume()
    with pytest.raises(ConfigError, match="other settings or episodes"):
        Trainer(settings(policy), open_episodes(episodes)[1:], tmp_path).resume()
    (tmp_path / "training" / "state.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer(settings(policy), open_episodes(episodes), tmp_path).resume()


def test_images_are_resized_as_the_runtime_does_and_memory_changes_nothing(policy: Policy, episodes: Path) -> None:
    recorded = open_episodes(episodes)
    held, lazy = (Samples(recorded, policy.settings, memory_mb) for memory_mb in (16, 0))
    assert (held.images_in_memory, lazy.images_in_memory) == (True, False)
    indices = np.array([0, 7, 23])
    shuffled = np.array([23, 6, 8, 0, 7])
    np.testing.assert_array_equal(held.images(shuffled), lazy.images(shuffled))
    np.testing.assert_array_equal(held.images(indices), lazy.images(indices))
    (original,) = recorded[1].images("image", [1])
    expected = resize(original, 32, 32, policy.settings.resize)
    np.testing.assert_array_equal(held.images(indices)[1], expected)


def test_a_chunk_ends_with_its_episode(policy: Policy, episodes: Path) -> None:
    recorded = open_episodes(episodes)
    long = policy.settings.model_copy(update={"horizon": 4})
    actions, real = Samples(recorded, long, 16).chunks(np.array([0, 4]))
    np.testing.assert_array_equal(actions[0], recorded_actions(recorded[0])[:4])
    np.testing.assert_array_equal(actions[1], recorded_actions(recorded[0])[[4, 5, 5, 5]])
    np.testing.assert_array_equal(real[..., 0], [[1, 1, 1, 1], [1, 1, 0, 0]])


def test_actions_past_an_episode_s_end_are_no_part_of_the_loss(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    long = settings(policy, batch_size=100)
    long.policy["horizon"] = 10
    trainer = Trainer(long, open_episodes(episodes), tmp_path / "run")
    with torch.no_grad():
        for parameter in trainer.policy.network.action_head.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    train = split_episodes(open_episodes(episodes), 0.25, 0).train
    mean, std = np.array(trainer.policy.actions.mean), np.array(trainer.policy.actions.std)
    recorded = [np.square((recorded_actions(e)[step:] - mean) / std) for e in train for step in range(len(e))]
    assert next(trainer.run()).loss == pytest.approx(np.concatenate(recorded).mean(), rel=1e-4)


def test_normalisation_leaves_still_dimensions_alone(tmp_path: Path) -> None:
    for name in "ab":
        actions = np.random.default_rng(ord(name)).normal(size=(6, 7)).astype(np.float32)
        actions[:, 2] = 0.5
        write_episode(tmp_path / f"{name}.hdf5", np.zeros((6, 8, 8, 3), np.uint8), "go", actions)
    recorded = open_episodes(tmp_path)
    actions = action_statistics(recorded)
    assert (actions.mean[2], actions.std[2]) == (0.5, 1.0)
    everything = np.concatenate([recorded_actions(e) for e in recorded])
    assert actions.std[0] == pytest.approx(everything[:, 0].std(), rel=1e-5)


def test_episodes_are_held_out_whole(episodes: Path) -> None:
    recorded = open_episodes(episodes)
    split = split_episodes(recorded, 0.25, 0)
    assert (len(split.train), len(split.held_out)) == (3, 1)
    assert not set(split.train) & set(split.held_out)
    assert split_episodes(recorded[:1], 0.5, 0).held_out == ()


def test_episodes_of_another_robot_are_named(policy: Policy, episodes: Path) -> None:
    spec = policy.settings.action.model_copy(update={"dimensions": policy.settings.action.dimensions[:3]})
    with pytest.raises(EpisodeError, match=r"3 dimensions .*episode0 \(7\)"):
        check_dimensions(open_episodes(episodes), policy.settings.model_copy(update={"action": spec}))


def test_episodes_without_actions_train_nothing(policy: Policy, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "instructions.txt").write_text("go")
    with pytest.raises(EpisodeError, match=f"{tmp_path.name} has no actions"):
        Trainer(settings(policy), open_episodes(tmp_path), tmp_path / "run")


def batches(policy: Policy, episodes: Path, augment: AugmentSettings | None) -> Batches:
    recorded = open_episodes(episodes)
    text = word_tokenizer(["pick up the left red block", "move to the right green block", "grab"])
    samples = Samples(recorded, policy.settings, 16)
    return Batches(samples, policy.settings, text, action_statistics(recorded), 8, 0, augment)


def test_a_mirrored_image_mirrors_action_and_words(policy: Policy, episodes: Path) -> None:
    still = {"brightness": 0, "contrast": 0, "saturation": 0}
    plain = batches(policy, episodes, AugmentSettings(**still)).training(0)
    flip = FlipSettings(dimensions=("y", "yaw"), probability=1)
    maker = batches(policy, episodes, AugmentSettings(**still, flip=flip))
    flipped = maker.training(0)
    torch.testing.assert_close(flipped.images, plain.images.flip(2))
    statistics = action_statistics(open_episodes(episodes))
    mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
    signs = torch.tensor([1.0, -1, 1, 1, 1, -1, 1])
    torch.testing.assert_close(flipped.actions * std + mean, (plain.actions * std + mean) * signs)
    assert mirrored("Left of the right, not leftover") == "Right of the left, not leftover"
    with pytest.raises(ConfigError, match="no action called up"):
        batches(policy, episodes, AugmentSettings(flip=FlipSettings(dimensions=("up",))))


def test_paraphrases_are_drawn(policy: Policy, episodes: Path) -> None:
    phrases = {"pick up": ("grab",)}
    assert paraphrased("pick up the cup", phrases) == ["pick up the cup", "grab the cup"]
    maker = batches(policy, episodes, AugmentSettings(paraphrases=phrases))
    sentences = {tuple(row.tolist()) for step in range(maker.per_epoch * 4) for row in maker.training(step).ids}
    assert len(sentences) == 3


def test_an_epoch_sees_every_sample_once(policy: Policy, episodes: Path) -> None:
    maker = batches(policy, episodes, None)
    seen = [row.numpy().tobytes() for step in range(maker.per_epoch) for row in maker.training(step).images]
    assert len(set(seen)) == 24
    again = maker.training(maker.per_epoch).images
    assert not torch.equal(again, maker.training(0).images)
    assert torch.equal(maker.training(1).images, maker.training(1).images)
    assert sum(len(batch.images) for batch in maker.in_order()) == 24


def test_jitter_changes_light_and_stays_a_picture() -> None:
    images = torch.rand(4, 8, 8, 3) * 255
    generator = torch.Generator().manual_seed(0)
    changed = jitter(images, AugmentSettings(brightness=0.3), generator)
    assert not torch.equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 255
    off = AugmentSettings(brightness=0, contrast=0, saturation=0)
    torch.testing.assert_close(jitter(images, off, generator), images)
    # Half-bright pictures cannot saturate: every pixel of a picture changes by the picture's own factor.
    dim = jitter(images / 2, AugmentSettings(brightness=0.9, contrast=0, saturation=0), generator) / images
    assert (dim.flatten(1).std(dim=1) < 1e-4).all()
    assert dim.flatten(1).mean(dim=1).std() > 0.05


def test_policies_that_are_not_trained_here_are_refused(policy: Policy) -> None:
    shared = policy.settings.model_dump(
        mode="json", include={"name", "dt_s", "replan_s", "cameras", "resize", "action"}
    )
    raw = {**shared, "family": "act", "images": {camera.name: {} for camera in policy.settings.cameras}}
    with pytest.raises(ConfigError, match=r"act: a policy without language.* is not trained here"):
        training_settings({"policy": raw}, "train.yaml", {}).policy_settings(10)


def test_the_schedule_rises_then_falls() -> None:
    rates = [schedule(step, 100, 0.1) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)
    assert schedule(0, 10, 0) == 1


def test_a_training_file_s_mistakes_are_all_named(policy: Policy) -> None:
    raw = {"policy": {}, "training": {"epochs": 0, "speed": 1}, "augmnt": {}}
    with pytest.raises(ConfigError) as caught:
        training_settings(raw, "train.yaml", {})
    for key in ("training.epochs", "training.speed", "augmnt"):
        assert key in str(caught.value)
    assert settings(policy).training.epochs == 2
    overridden = training_settings({"policy": {}}, "train.yaml", {"epochs": 7, "seed": None})
    assert (overridden.training.epochs, overridden.training.seed) == (7, 0)
