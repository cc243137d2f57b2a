"""What the step graph needs of a sentence, computed once for each instruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jetvla.runtime.backends import Engine
from jetvla.runtime.backends.base import Array, LayerProfile
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import Clock
from jetvla.runtime.errors import BundleError
from jetvla.runtime.manifest import TextSpec
from jetvla.runtime.tokenizer import TokenEmbedding, Tokenizer


class Understood(NamedTuple):
    """A sentence as the language graph's outputs; times are zero when it was known already.

    ``cut`` counts the tokens that did not fit and were lost.
    """

    outputs: Mapping[str, Array]
    cut: int
    tokenize_ns: int
    language_ns: int


class Language:
    """Tokenizer, word embedding and language graph of a bundle; remembers the last sentence."""

    def __init__(self, bundle: Bundle, text: TextSpec, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._tokenizer = Tokenizer(bundle.file(text.tokenizer), text.max_tokens, text.pad_id)
        self._embedding = None
        if text.embedding is not None:
            self._embedding = TokenEmbedding(bundle.file(text.embedding), self._tokenizer.vocabulary)
        ids = "input_ids" if self._embedding is None else "input_embeds"
        if set(engine.graph.inputs) != {ids, "attention_mask"}:
            raise BundleError(
                f"{engine.graph.file} must take {ids} and attention_mask, not "
                f"{', '.join(engine.graph.inputs)}; build the bundle again"
            )
        self._sentence: str | None = None
        self._known = Understood({}, 0, 0, 0)

    def forget(self) -> None:
        """Read the next sentence anew, whichever it is."""
        self._sentence = None

    def layer_profile(self) -> LayerProfile | None:
        """Of the language graph, as :meth:`Engine.layer_profile`."""
        return self._engine.layer_profile()

    def understand(self, sentence: str) -> Understood:
        """Run the language graph, unless ``sentence`` is the one of before.

        Raises:
            EngineError: if the graph fails.
        """
        if sentence != self._sentence:
            fresh = self._run(sentence)
            self._sentence, self._known = sentence, fresh._replace(tokenize_ns=0, language_ns=0)
            return fresh
        return self._known

    def _run(self, sentence: str) -> Understood:
        started = self._clock.now_ns()
        tokens = self._tokenizer.encode(sentence)
        inputs: dict[str, Array] = {"attention_mask": tokens.attention_mask}
        if self._embedding is None:
            inputs["input_ids"] = tokens.input_ids
        else:
            inputs["input_embeds"] = self._embedding(tokens.input_ids)
        tokenized = self._clock.now_ns()
        outputs = self._engine.infer(inputs)
        return Understood(outputs, tokens.cut, tokenized - started, self._clock.now_ns() - tokenized)
