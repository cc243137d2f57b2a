"""Policy and guard agree on the instruction that holds now."""

from __future__ import annotations

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.config import InstructionConfig
from jetvla.runtime.instructions import Heard, InstructionInbox


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def inbox(clock: FakeClock) -> InstructionInbox:
    return InstructionInbox(InstructionConfig(ttl_s=10, max_chars=40), clock)


def text(inbox: InstructionInbox) -> str | None:
    current = inbox.current()
    return None if current is None else current.text


def test_the_newest_sentence_holds_until_it_expires(inbox: InstructionInbox, clock: FakeClock) -> None:
    assert text(inbox) is None
    assert inbox.hear("  pick up   the red block\n") is Heard.ACCEPTED
    assert text(inbox) == "pick up the red block"
    clock.advance(6)
    assert inbox.hear("move to the blue block") is Heard.ACCEPTED
    clock.advance(10)
    assert text(inbox) == "move to the blue block"
    clock.advance(0.001)
    assert text(inbox) is None


def test_two_inboxes_give_one_sentence_one_id(clock: FakeClock) -> None:
    ids = set()
    for spelling in ("café on the left", "cafe\u0301  on the left"):
        inbox = InstructionInbox(InstructionConfig(), clock)
        inbox.hear(spelling)
        current = inbox.current()
        assert current is not None
        ids.add(current.id)
    assert len(ids) == 1


@pytest.mark.parametrize("sentence", ["stop", "STOP!", "please halt now", "Stop the robot"])
def test_a_stop_word_anywhere_clears_the_instruction(inbox: InstructionInbox, sentence: str) -> None:
    inbox.hear("pick up the red block")
    assert inbox.hear(sentence) is Heard.STOP
    assert text(inbox) is None


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("停", "请停下"),
        ("止まれ", "そこで止まれ!"),
        ("หยุด", "หยุดเดี๋ยวนี้"),
        ("توقف", "الآن توقف"),
        ("stop!", "please stop! now"),
        ("arre\u0302te", "arrête-toi"),
        ("arrête", "ARRE\u0302TE"),
        ("стоп", "СТОП, робот"),
        ("straße", "STRASSE"),
        ("stand  still", "stand\nstill"),
        ("stop", "ｓｔｏｐ"),
    ],
)
def test_a_stop_word_of_any_script_is_heard(clock: FakeClock, word: str, sentence: str) -> None:
    inbox = InstructionInbox(InstructionConfig(stop_words=(word,)), clock)
    inbox.hear("pick up the red block")
    assert inbox.hear(sentence) is Heard.STOP
    assert text(inbox) is None


def test_a_stop_word_in_a_sentence_that_is_too_long_stops(inbox: InstructionInbox) -> None:
    inbox.hear("pick up the red block")
    assert inbox.hear("x " * 10_000 + "please stop" + " now" * 100) is Heard.STOP
    assert text(inbox) is None


@pytest.mark.parametrize("word", ["", "  "])
def test_a_stop_word_of_nothing_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        InstructionConfig(stop_words=(word,))


def test_a_stop_word_inside_another_word_is_none(inbox: InstructionInbox) -> None:
    assert inbox.hear("pick up the stopper") is Heard.ACCEPTED


def test_too_long_a_sentence_is_refused_and_the_former_stays(inbox: InstructionInbox) -> None:
    inbox.hear("pick up the red block")
    assert inbox.hear("x" * 41) is Heard.TOO_LONG
    assert text(inbox) == "pick up the red block"


def test_an_empty_sentence_clears(inbox: InstructionInbox) -> None:
    inbox.hear("pick up the red block")
    assert inbox.hear("  ") is Heard.CLEARED
    assert text(inbox) is None


def test_a_configured_sentence_is_there_from_the_start_and_may_never_expire(clock: FakeClock) -> None:
    inbox = InstructionInbox(InstructionConfig(text="pick up the red block", ttl_s=None), clock)
    clock.advance(1e6)
    assert text(inbox) == "pick up the red block"
