"""What the course's node finds on its disk: both pretrained encoders, a tokenizer and the trained state."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import DebertaV2Model, PreTrainedTokenizerFast, ViTConfig, ViTModel

from jetvla.engines.families.end_to_end.network import EndToEndVLA as OurNetwork
from jetvla.engines.sources import Declared, random_policy
from jetvla.services.bench.course import LANGUAGE, STATE, VISION, EndToEndVLA


def write_course_files(size: str, folder: Path) -> None:
    """Write them for a named size, with random weights; replaces ``folder``, which is there whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    policy = random_policy(size, Declared())
    network = policy.network
    assert isinstance(network, OurNetwork)
    assert policy.text is not None
    vision = network.vision_encoder.config
    assert isinstance(vision, ViTConfig)
    # The node prepares its images to one number of pixels.
    vision.image_size = policy.settings.cameras[0].width
    # With the pooler that the course's AutoModel has.
    ViTModel(vision).save_pretrained(partial / VISION)
    DebertaV2Model(network.language_encoder.config).save_pretrained(partial / LANGUAGE)
    (partial / "tokenizer.json").write_text(policy.text.json, encoding="utf-8")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(partial / "tokenizer.json"), pad_token="[PAD]")
    tokenizer.save_pretrained(partial / LANGUAGE)
    torch.save(EndToEndVLA(partial).state_dict(), partial / STATE)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
