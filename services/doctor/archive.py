"""Everything that a supporter needs, in one file, without keys and without what people said to the robot."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from jetvla.runtime.audit.chain import parse
from jetvla.runtime.audit.folder import files_of
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.runtime.keys import PRIVATE_SUFFIX
from jetvla.services.doctor.examination import CONFIGURATION, all_ready
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.redaction import Redaction
from jetvla.services.doctor.system import System
from jetvla.services.doctor.units import UNITS
from jetvla.services.store.store import Store

JOURNAL_LINES = 5000
AUDIT_LINES = 2000
HISTORY_LINES = 2000
# What an audit line may hold beside free text. Its fault and its numbers say what happened; a reason may quote people.
_AUDIT_FIELDS = frozenset(
    (
        *("seq", "prev", "wall", "t_ns", "kind", "state", "fault", "raw", "sent", "bundle", "config", "shadow"),
        *("of", "pid", "lost", "count", "number", "bytes", "sha256"),
    )
)
_SAID = ("instruction", "text")
_FILES = ("/etc/nv_tegra_release", "/etc/os-release", "/var/lib/nvpmodel/status", "/run/jetvla-clocks/in-force")
README = "README.txt"
_README = """Made by 'jetvla doctor --archive'.

Left out: private keys, trusted keys, every sentence that was said to the robot, and the reasons in the audit log.
No figures of 'jetvla profile' are kept by themselves; --profile FILE packs those of its --json.
In free text (journal.txt, status.json) sentences are found by where they stand: look at it before you send it.
"""


def write_archive(
    output: Path, config_path: Path, findings: list[Finding], system: System, profile: Path | None
) -> list[str]:
    """Write ``output``, a tar with gzip, mode 0600, whole or not at all; the names of what is in it.

    Raises:
        ConfigError: if it cannot be written, or ``profile`` or a private key cannot be read.
        JetvlaError: if something that must stay here would be in it; nothing is written then.
    """
    source = _Source(config_path, findings, system, profile)
    # What one part tells of keys and sentences is to be found in the others: twice over all of them.
    source.parts()
    parts = source.parts()
    # What is always the same tells nothing, whatever was said.
    if source.redaction.found_in(content for name, content in parts.items() if name != README):
        raise JetvlaError("a key or an instruction could not be taken out of the archive, so none is written")
    partial = output.with_name(f".{output.name}.partial")
    try:
        with tarfile.open(partial, "w:gz") as tar:
            partial.chmod(0o600)
            for name, content in parts.items():
                member = tarfile.TarInfo(f"jetvla/{name}")
                member.size, member.mode = len(content), 0o600
                tar.addfile(member, io.BytesIO(content))
        partial.replace(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}; choose another FILE") from error
    finally:
        # Where nothing can be written, nothing can be removed: what was wrong is said already.
        with suppress(OSError):
            partial.unlink()
    return list(parts)


class _Source:
    """Where the parts come from. A part that cannot be had says why in its place."""

    def __init__(self, config_path: Path, findings: list[Finding], system: System, profile: Path | None) -> None:
        self._config_path, self._findings, self._system, self._profile = config_path, findings, system, profile
        self._config = _loaded(config_path)
        self.redaction = Redaction()
        self._remember_keys()
        self.redaction.remember(_configured_sentence(config_path))

    def parts(self) -> dict[str, bytes]:
        """Content by name."""
        makers: dict[str, Callable[[], str]] = {
            README: lambda: _README,
            "findings.json": self._examined,
            "versions.json": self._versions,
            "configuration.yaml": self._configuration,
            "status.json": self._status,
            "history.jsonl": self._history,
            "trial.json": self._trial,
            "audit.jsonl": self._audit,
            "journal.txt": self._journal,
        }
        if self._profile is not None:
            makers["profile.json"] = self._profiled
        return {name: _or_why(make).encode() for name, make in makers.items()}

    def _remember_keys(self) -> None:
        folders = [self._system.path("/etc/jetvla"), self._config_path.parent]
        if self._config is not None:
            folders.append(self._config.trusted)
        try:
            for path in {path for folder in folders for path in folder.rglob(f"*{PRIVATE_SUFFIX}") if path.is_file()}:
                self.redaction.remember_key(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise ConfigError(
                f"the private key {error.filename} cannot be read ({error.strerror}), so nobody can see to it that it "
                "stays here, and no archive is written; run it with sudo, or move the key away: a robot needs none"
            ) from error

    def _examined(self) -> str:
        # The page's own words are known; a mistake in the configuration is shown with its value.
        findings = [asdict(finding) for finding in self._findings]
        for finding in findings:
            clean = self.redaction.lines if finding["what"] == CONFIGURATION else self.redaction.known
            for field, cleaned in (("what", self.redaction.known), ("detail", clean), ("remedy", clean)):
                finding[field] = cleaned(finding[field])
        return json.dumps({"ready": all_ready(self._findings), "findings": findings}, indent=1)

    def _versions(self) -> str:
        packages = {d.metadata["Name"]: d.version for d in distributions()}
        versions = {
            "python": platform.python_version(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "files": {path: self.redaction.known(self._system.text(path)) for path in _FILES},
            "packages": dict(sorted(packages.items())),
        }
        return json.dumps(versions, indent=1)

    def _configuration(self) -> str:
        """Only what is configured by its name: a comment, or a key that is none, may hold anything."""
        if self._config is None:
            text = f"# {self._config_path} is wrong or missing, see findings.json; its contents are left out\n"
            return self.redaction.known(text)
        data = self._config.model_dump(mode="json", exclude_unset=True)
        data.get("instruction", {}).pop("text", None)
        return yaml.safe_dump(self.redaction.values(data), sort_keys=False)

    def _status(self) -> str:
        path = self._config.status if self._config else self._system.path("/run/jetvla/status.json")
        data = json.loads(path.read_text(encoding="utf-8"))
        for name in _SAID:
            self.redaction.remember(data.pop(name, None))
        return json.dumps(self.redaction.values(data), indent=1)

    def _store(self) -> Store:
        return Store(self._config.store if self._config else self._system.path("/var/lib/jetvla/bundles"))

    def _history(self) -> str:
        entries = self._store().history.entries()[-HISTORY_LINES:]
        return "".join(f"{json.dumps(self.redaction.values(asdict(entry)))}\n" for entry in entries)

    def _trial(self) -> str:
        return json.dumps(self.redaction.values(json.loads(self._store().trial_path.read_bytes())), indent=1)

    def _audit(self) -> str:
        folder = self._config.telemetry.audit if self._config else self._system.path("/var/log/jetvla")
        if folder is None:
            return ""
        lines = [line for file in files_of(folder)[-2:] for line in file.read_bytes().splitlines()][-AUDIT_LINES:]
        return "".join(f"{self._audited(line)}\n" for line in lines)

    def _audited(self, line: bytes) -> str:
        link = parse(line)
        entry: dict[str, Any] = {} if link is None else link.entry
        for name in _SAID:
            self.redaction.remember(entry.get(name))
        # A reason goes through the redaction for what it tells of sentences, and no further.
        self.redaction.line(str(entry.get("reason", "")))
        kept = {name: value for name, value in entry.items() if name in _AUDIT_FIELDS}
        return json.dumps(self.redaction.values(kept))

    def _journal(self) -> str:
        options = ("--no-pager", "--output=short-iso", f"--lines={JOURNAL_LINES}")
        text = self._system.ask(("journalctl", *(f"--unit={unit}" for unit in UNITS), *options))
        return self.redaction.lines("journalctl gives nothing; run it with sudo\n" if text is None else text)

    def _profiled(self) -> str:
        assert self._profile is not None  # parts() asks
        try:
            data = json.loads(self._profile.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._profile} is not what 'jetvla profile --json' writes: {error}") from error
        return json.dumps(self.redaction.values(data), indent=1)


def _loaded(path: Path) -> Config | None:
    try:
        return load_config(path)
    except ConfigError:
        return None


def _configured_sentence(path: Path) -> object:
    """Also of a configuration that is wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return data["instruction"]["text"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def _or_why(make: Callable[[], str]) -> str:
    try:
        return make()
    except (OSError, ValueError) as error:
        return f"not there: {getattr(error, 'strerror', None) or type(error).__name__}\n"
