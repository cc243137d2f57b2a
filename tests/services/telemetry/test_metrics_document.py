"""The document lists every metric, as the table has it, and the configuration that serves them."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.telemetry.address import Address
from jetvla.runtime.telemetry.config import DEFAULT_METRICS
from jetvla.services.telemetry.catalogue import METRICS

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "PROFILING.md").read_text()
LEAST = "bundle: x\ncameras: {front: {kind: ros}}\n"


def test_the_document_lists_every_metric_and_no_other() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `jetvla_")]
    assert rows == [
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |" for m in METRICS
    ]
    assert DEFAULT_METRICS in DOCUMENT


def load(folder: Path, metrics: str) -> Address | None:
    (folder / "jetvla.yaml").write_text(f"{LEAST}telemetry:\n  audit: null\n{metrics}")
    return load_config(folder / "jetvla.yaml").telemetry.metrics_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", Address("127.0.0.1", 9464)),
        ("  metrics: null\n", None),
        ("  metrics: localhost:9000\n", Address("127.0.0.1", 9000)),
        ("  metrics: '[::1]:9464'\n", Address("::1", 9464)),
        ("  metrics: 0.0.0.0:1\n", Address("0.0.0.0", 1)),
    ],
)
def test_where_metrics_are_served(tmp_path: Path, text: str, address: Address | None) -> None:
    assert load(tmp_path, text) == address


@pytest.mark.parametrize(
    "value",
    [
        *("9464", "true", "''", "[1, 2]", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http"),
        *("robot:9464", "::1:9464", "'[127.0.0.1]:9464'", "1.2.3:1", "999.0.0.1:9464", "127.0.0.1:9464/metrics"),
    ],
)
def test_an_address_that_is_none_is_named_with_its_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"jetvla\.yaml:5: telemetry\.metrics: ") as caught:
        load(tmp_path, f"  metrics: {value}\n")
    assert len(str(caught.value).splitlines()) == 2


def test_what_is_reachable_from_elsewhere_is_known() -> None:
    inside = ("127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "localhost:1")
    outside = ("0.0.0.0:1", "192.168.1.7:1", "[::]:1", "[fe80::1]:1")
    assert [Address.parse(text).loopback for text in (*inside, *outside)] == [True] * 4 + [False] * 4
    assert str(Address.parse("[::1]:9464")) == "[::1]:9464"


def test_the_unit_has_no_privilege_and_is_nobodys_condition() -> None:
    unit = ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "services" / "units" / "jetvla-metrics.service")
    service = unit["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["ProtectSystem"] == "strict"
    # A guard's memory is read from /proc.
    assert service["ProtectProc"] == "default"
    assert "jetvla.services.metrics_daemon" in service["ExecStart"]
    assert not {"Requires", "BindsTo", "RequiredBy"} & unit["Unit"].keys()
