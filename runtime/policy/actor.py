"""From an observation to an action chunk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jetvla.runtime.backends.base import Array
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Observation
from jetvla.runtime.link.protocol import StageTimes
from jetvla.runtime.policy.model import Model
from jetvla.runtime.preprocess import Resizer

_log = logging.getLogger(__name__)


class Acted(NamedTuple):
    """A chunk and what it took; ``capture`` is the age of the oldest frame when the step started."""

    chunk: ActionChunk
    stages: StageTimes


class Actor:
    """Resizes frames as in training, into buffers that are made once, and runs the model on them."""

    def __init__(self, model: Model) -> None:
        manifest = model.bundle.manifest
        self._model = model
        self._dt_ns = seconds_to_ns(manifest.dt_s)
        self._resizers = [Resizer(c.height, c.width, manifest.resize) for c in manifest.cameras]
        self._images: Mapping[str, Array] = {
            f"image_{c.name}": np.zeros((1, c.height, c.width, 3), np.uint8) for c in manifest.cameras
        }
        self._seq = 0

    def act(self, observation: Observation) -> Acted:
        """The next chunk; its ``t0_ns`` is the capture time of the oldest frame.

        Raises:
            EngineError: if the engine failed.
        """
        clock, frames = self._model.clock, observation.frames
        started = clock.now_ns()
        for resizer, image, frame in zip(self._resizers, self._images.values(), frames, strict=True):
            resizer(frame.image, image[0])
        preprocessed = clock.now_ns()
        step = self._model.infer(self._images, observation.state, observation.instruction.text)
        if step.language_ns and step.cut:
            _log.warning("the instruction is too long: its last %d tokens are lost on the policy", step.cut)
        t0_ns = min(frame.t_ns for frame in frames)
        stages = StageTimes(
            capture=started - t0_ns,
            preprocess=preprocessed - started,
            tokenize=step.tokenize_ns,
            language=step.language_ns,
            step=step.step_ns,
        )
        chunk = ActionChunk(
            actions=step.actions,
            t0_ns=t0_ns,
            dt_ns=self._dt_ns,
            instruction_id=observation.instruction.id,
            bundle=self._model.bundle.digest,
            seq=self._seq,
        )
        self._seq += 1
        return Acted(chunk, stages)
