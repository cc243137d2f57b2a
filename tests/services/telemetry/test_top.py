"""``jetvla top``: what runs is shown, what is old is marked, and daemons may come and go."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from rich.console import Console

from jetvla.runtime.telemetry import spans
from jetvla.runtime.telemetry.power import PowerSource
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Throttling
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.services.cli import main
from jetvla.services.telemetry.screen import page
from jetvla.services.telemetry.snapshot import Snapshot, Watcher

from .conftest import PATIENCE_S, Robot, Tells

MS, S = 1_000_000, 1_000_000_000


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def watcher(robot: Robot, opened: ExitStack, machine: PowerSource | None = None) -> Watcher:
    return opened.enter_context(closing(Watcher(robot.config, machine)))


def shown(seen: Snapshot, width: int = 160) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(page(seen))
    return capture.get()


def run_a_while(guard: SpanRing, policy: SpanRing, now_ns: int) -> None:
    """Five seconds of 100 ticks and 20 frames a second, the last of them right now; and one stage of long ago."""
    guard.add("guard", now_ns - 60 * S, 900 * MS)
    for tick in range(500):
        began_ns = now_ns - (499 - tick) * 10 * MS - 1 * MS
        guard.add("guard", began_ns, MS // 2)
        guard.add("publish", began_ns, MS // 4)
        if tick % 5 == 0:
            policy.add("step", began_ns - 20 * MS, 8 * MS, began_ns - 30 * MS)
            guard.add("link", began_ns, MS, began_ns - 30 * MS)


def test_rates_ages_and_stages_are_of_the_last_seconds(robot: Robot, opened: ExitStack) -> None:
    now_ns = time.monotonic_ns()
    guard = SpanRing(robot.config.spans("guard"), now_ns - 3600 * S)
    policy = SpanRing(robot.config.spans("policy"), now_ns - 3600 * S)
    run_a_while(guard, policy, now_ns)
    robot.report()
    seen = watcher(robot, opened).look()
    assert seen.up
    assert (seen.ticks, seen.chunks, seen.commands) == (50.0, 10.0, 50.0)
    assert seen.stages.keys() == {"guard", "publish", "step", "link"}
    assert seen.stages["guard"].count == 500
    assert seen.stages["guard"].max == MS // 2
    assert seen.frame_age_s is not None
    assert seen.command_age_s is not None
    # The newest frame is of the last tick but four.
    assert seen.frame_age_s - seen.command_age_s == pytest.approx(0.03 + 0.04 + 0.00025, abs=1e-6)


def test_a_daemon_that_just_started_has_the_rates_of_its_own_time(robot: Robot, opened: ExitStack) -> None:
    now_ns = time.monotonic_ns()
    guard = SpanRing(robot.config.spans("guard"), now_ns - 5 * S)
    run_a_while(guard, robot.ring("policy"), now_ns)
    ticks = watcher(robot, opened).look().ticks
    its_time_s = (time.monotonic_ns() - now_ns) / S + 5
    assert 500 / its_time_s <= ticks <= 100


def test_the_page_says_all_of_it(robot: Robot, opened: ExitStack) -> None:
    now_ns = time.monotonic_ns()
    guard = SpanRing(robot.config.spans("guard"), now_ns - 3600 * S)
    policy = SpanRing(robot.config.spans("policy"), now_ns)
    run_a_while(guard, policy, now_ns)
    robot.report()
    machine = Tells(
        rails=(Rail("VDD_IN", 5250.0),), temperatures=(Temperature("cpu", 61.5),), throttling=Throttling(("cpufreq-0",))
    )
    text = shown(watcher(robot, opened, machine).look())
    for words in (
        "ARMED  armed by the operator",
        "instruction: pick up the red block",
        "guard: SCHED_FIFO priority 50; policy: sends chunks",
        "per second: 50.0 ticks, 10.0 chunks, 50.0 commands",
        "clips 7, rejections 3, refusals 2; faults: estop 1",
        "milliseconds, last 10 s",
        "ARMED state: armed by the operator",
        "cpu 61.5 °C",
        "VDD_IN 5.25 W",
        "THROTTLED by cpufreq-0",
    ):
        assert words in text, words
    assert "STALE" not in text
    assert re.search(rf"policy .* {os.getpid()} .* 0:\d\d:\d\d .* \d+\.\d MB", text)
    # Its ring is older than this process, which is therefore not the one that wrote it.
    assert re.search(r"guard .* not running", text)


def test_what_a_machine_does_not_tell_is_said(robot: Robot, opened: ExitStack) -> None:
    text = shown(watcher(robot, opened, Tells(note="this machine has no power sensor")).look())
    assert "temperatures: not told" in text
    assert "power: this machine has no power sensor" in text
    assert "throttling: not told" in text
    assert "throttling: none" in shown(watcher(robot, opened, Tells(throttling=Throttling())).look())


def test_stale_data_is_marked(robot: Robot, opened: ExitStack) -> None:
    looks = watcher(robot, opened)
    robot.report(written_ns=(written_ns := time.monotonic_ns() - 12 * S))
    seen = looks.look()
    assert not seen.up
    said = re.search(r"STALE: the guard's last report is (\d+) s old  it was ARMED", shown(seen))
    assert said is not None
    assert 12 <= int(said[1]) <= round((time.monotonic_ns() - written_ns) / S)
    robot.report(written_ns=time.monotonic_ns() + 3600 * S)
    assert "from before the machine was started" in shown(looks.look())


def test_daemons_come_and_go(robot: Robot, opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = watcher(robot, opened)
    text = shown(looks.look())
    assert "NO REPORT" in text
    assert "start it with 'jetvla run'" in text
    assert text.count("not running") == 2
    with monkeypatch.context() as patched:
        patched.setattr(spans, "VERSION", 99)
        robot.ring("guard")
    assert "holds no spans of this version; restart the daemons" in " ".join(shown(looks.look()).split())
    for _ in range(2):
        robot.ring("guard").add("guard", time.monotonic_ns(), MS)
        robot.report()
        seen = looks.look()
        assert seen.up
    # The last span of the one that ended is not lost.
    assert seen.stages["guard"].count == 2
    assert shown(seen).count("not running") == 1


def test_a_sentence_cannot_command_the_terminal(robot: Robot, opened: ExitStack) -> None:
    robot.report(instruction="\x1b[2Jred [bold]block", reason="\x07\r", events=["\x1b]0;x\x07"])
    text = shown(watcher(robot, opened).look())
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "red [bold]block" in text


def test_once_prints_a_page_into_a_pipe(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.report()
    before = {path: path.stat().st_mtime_ns for path in robot.config.run_dir.iterdir()}
    assert main(["top", "--once", "--config", str(robot.path)]) == 0
    assert "ARMED  armed by the operator" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in robot.config.run_dir.iterdir()} == before
    robot.report(written_ns=1)
    assert main(["top", "--once", "--config", str(robot.path)]) == 1
    assert "STALE" in capsys.readouterr().out


def test_without_a_terminal_it_names_the_remedy(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--config", str(robot.path)]) == 1
    assert "--once prints one page" in capsys.readouterr().err


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "1e9", "soon"])
def test_an_interval_that_is_none_is_wrong_usage(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["top", f"--interval={interval}"])
    assert caught.value.code == 2
    assert f"{interval} is not between 0.1 and 3600 seconds" in capsys.readouterr().err


class Screen:
    """The command on a terminal of its own; what it wrote is kept."""

    def __init__(self, config: Path) -> None:
        self._terminal, end = pty.openpty()
        words = [sys.executable, "-m", "jetvla.services", "top", "--interval", "0.1", "--config", str(config)]
        self.process = subprocess.Popen(
            words,
            stdin=end,
            stdout=end,
            stderr=end,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "160", "LINES": "50"},
        )
        os.close(end)
        self.text = ""

    def wait_for(self, words: str) -> None:
        """Until ``words`` are written from now on."""
        self.text, give_up = "", time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert time.monotonic() < give_up, self.text
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.text += os.read(self._terminal, 1 << 16).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


def test_the_live_screen_follows_until_it_is_interrupted(robot: Robot, opened: ExitStack) -> None:
    screen = opened.enter_context(closing(Screen(robot.path)))
    screen.wait_for("NO REPORT")
    robot.report()
    screen.wait_for("armed by the operator")
    robot.report(state="LATCHED", reason="estop: pressed")
    screen.wait_for("LATCHED")
    robot.report(written_ns=1)
    screen.wait_for("STALE")
    screen.process.send_signal(signal.SIGINT)
    # The terminal's own screen is back.
    screen.wait_for("\x1b[?1049l")
    assert screen.process.wait(PATIENCE_S) == 0
