"""Install, try and go back: the bundles of this device.

  jetvla bundle pack FOLDER -o F.jetvla   one file to carry around; a signed one is verified with --trusted DIR
  jetvla bundle sign BUNDLE --key K       sign what was built without a key, a folder or a .jetvla file
  jetvla bundle install FILE|FOLDER       verify, run the golden samples, make it current and put it on trial
  jetvla bundle update URL                the same with what a fleet's server offers this device
  jetvla bundle list                      what is installed, which one is current, on trial, or the one to go back to
  jetvla bundle activate DIGEST           make an installed bundle current, and put it on trial
  jetvla bundle rollback                  make the previous one current
  jetvla bundle remove DIGEST             remove what is not needed

The health service takes up the current bundle once the robot is disarmed, and commits it or goes back by itself
(docs/UPDATES.md). Store, trusted keys, backend and engines are those of the configuration where there is one.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.services.operator import DEFAULT_CONFIG
from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.runtime.config import PolicyConfig
    from jetvla.runtime.keys import TrustedKey
    from jetvla.services.store.install import Terms
    from jetvla.services.store.store import Installed, Store

_JOURNAL = Path("/dev/log")
STATE = Path("/var/lib/jetvla/fleet")


@dataclass(frozen=True)
class _Device:
    store: Path
    trusted: Path
    policy: PolicyConfig
    status: Path


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    pack = actions.add_parser("pack", help="write a bundle's folder as one file")
    pack.add_argument("folder", type=Path)
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="such as NAME.jetvla")
    pack.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    sign = actions.add_parser("sign", help="sign a bundle that is there")
    sign.add_argument("path", type=Path, metavar="BUNDLE", help="folder or .jetvla file")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key, of 'jetvla keys new'")
    sign.add_argument("--overwrite", action="store_true", help="replace an existing signature")
    install = actions.add_parser("install", help="verify, test and activate a bundle")
    install.add_argument("path", type=Path, metavar="FILE|FOLDER")
    update = actions.add_parser("update", help="install what a fleet's server offers this device")
    update.add_argument("url", help="of the repository that 'jetvla fleet' made")
    update.add_argument("--trust-root", type=Path, metavar="FILE", help="the fleet's root.json; once, by a person")
    update.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="what is known (default: %(default)s)")
    actions.add_parser("list", help="what is installed")
    activate = actions.add_parser("activate", help="make an installed bundle current")
    rollback = actions.add_parser("rollback", help="make the previous bundle current")
    remove = actions.add_parser("remove", help="remove a bundle")
    for action in (activate, remove):
        action.add_argument("digest", help="its beginning is enough")
    for action in (install, update):
        action.add_argument("--skip-golden", action="store_true", help="do not run the golden samples; logged")
        action.add_argument("--while-armed", action="store_true", help="run them though the robot may stop for it")
        action.add_argument("--no-activate", action="store_true", help="do not make it current")
    for action in (pack, install, update, activate, rollback):
        action.add_argument("--trusted", type=Path, metavar="DIR", help="folder of trusted keys")
    for action in (install, activate):
        action.add_argument("--allow-downgrade", action="store_true", help="take an older version too; logged")
    for name, action in actions.choices.items():
        if name not in ("pack", "sign"):
            action.add_argument("--store", type=Path, metavar="DIR", help="folder of the installed bundles")
            action.add_argument("--config", type=Path, metavar="FILE", help=f"(default: {DEFAULT_CONFIG}, if there)")


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    actions = {
        "pack": _pack,
        "sign": _sign,
        "install": _install,
        "update": _update,
        "list": _list,
        "activate": _activate,
        "rollback": _roll_back,
        "remove": _remove,
    }
    with _journal():
        actions[arguments.action](arguments)
    return 0


@contextmanager
def _journal() -> Iterator[None]:
    """What the store logs is in the system's journal too, whoever started this."""
    if not _JOURNAL.exists():
        yield
        return
    store, handler = logging.getLogger("jetvla.store"), logging.handlers.SysLogHandler(str(_JOURNAL))
    handler.setFormatter(logging.Formatter("jetvla: %(message)s"))
    store.addHandler(handler)
    try:
        yield
    finally:
        store.removeHandler(handler)
        handler.close()


def _pack(arguments: argparse.Namespace) -> None:
    from jetvla.engines.publication import check_output
    from jetvla.runtime.archive import pack
    from jetvla.runtime.bundle import ARCHIVE_SUFFIX, SIGNATURE, Bundle
    from jetvla.runtime.errors import ConfigError
    from jetvla.runtime.keys import load_trusted

    output = arguments.output
    if output.suffix != ARCHIVE_SUFFIX:
        raise ConfigError(f"{output} does not end in {ARCHIVE_SUFFIX}; choose another -o")
    check_output(output, arguments.overwrite)
    if output.resolve().is_relative_to(arguments.folder.resolve()):
        raise ConfigError(f"{output} would lie within the bundle, and no such file belongs there; choose another -o")
    signed = (arguments.folder / SIGNATURE).is_file()
    if signed and arguments.trusted is None:
        raise ConfigError(
            f"{arguments.folder} is signed, and is packed with its signature verified: give the folder of the public "
            "keys that may have signed it, --trusted DIR"
        )
    bundle = Bundle.open(arguments.folder, None if arguments.trusted is None else load_trusted(arguments.trusted))
    try:
        pack(bundle.path, output)
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}; make room, or choose another -o") from error
    print(f"{output}: {bundle.manifest.name} version {bundle.manifest.version}, digest {bundle.digest}")
    print(f"signed by {bundle.signer.name}" if bundle.signer is not None else "unsigned: no device installs it")


def _sign(arguments: argparse.Namespace) -> None:
    from jetvla.services.bundle_signature import sign_bundle

    bundle = sign_bundle(arguments.path, arguments.key, arguments.overwrite)
    print(f"{arguments.path}: signed with {arguments.key}, digest {bundle.digest}")


def _install(arguments: argparse.Namespace) -> None:
    from jetvla.services.store.install import install

    store = _store(arguments)
    digest = install(store, arguments.path, _terms(arguments, arguments.allow_downgrade), print)
    _tell(store, digest)


def _update(arguments: argparse.Namespace) -> None:
    from jetvla.services.fleet.device import machine_id
    from jetvla.services.fleet.update import Fleet, update

    store = _store(arguments)
    fleet = Fleet(arguments.url, arguments.state, machine_id())
    digest = update(fleet, store, _terms(arguments, False), arguments.trust_root, print)
    if digest is not None:
        _tell(store, digest)


def _list(arguments: argparse.Namespace) -> None:
    store = _store(arguments)
    bundles = store.installed()
    for bundle in bundles:
        print(_line(store, bundle))
    if not bundles:
        print(f"no bundle is installed in {store.root}")


def _line(store: Store, bundle: Installed) -> str:
    marks = [
        name for name, digest in (("current", store.current), ("previous", store.previous)) if digest == bundle.digest
    ]
    if store.trial is not None and store.trial.digest == bundle.digest:
        marks.append(f"on trial since {store.trial.since}")
    elif verdict := store.history.verdict(bundle.digest):
        marks.append(verdict)
    named = "damaged" if bundle.manifest is None else f"{bundle.manifest.name} version {bundle.manifest.version}"
    return f"{bundle.digest}  {named}  {', '.join(marks)}".rstrip()


def _activate(arguments: argparse.Namespace) -> None:
    from jetvla.services.store.changes import changing

    store = _store(arguments)
    digest = store.find(arguments.digest)
    with changing(store) as changes:
        allowed = changes.check_version(digest, store.manifest(digest).version, arguments.allow_downgrade)
        changes.activate(digest, _trusted(arguments), allowed)
    _tell(store, digest)


def _roll_back(arguments: argparse.Namespace) -> None:
    from jetvla.services.store.changes import changing

    store = _store(arguments)
    with changing(store) as changes:
        digest = changes.roll_back("by the operator", _trusted(arguments))
    _tell(store, digest)


def _remove(arguments: argparse.Namespace) -> None:
    from jetvla.runtime.engine_cache import EngineCache
    from jetvla.services.store.changes import changing
    from jetvla.services.store.engines import remove_unneeded

    store = _store(arguments)
    digest = store.find(arguments.digest)
    with changing(store) as changes:
        changes.remove(digest)
        print(f"removed {digest}")
        remove_unneeded(store, EngineCache(_device(arguments).policy.engines), print)


def _tell(store: Store, digest: str) -> None:
    manifest = store.manifest(digest)
    print(f"bundle {digest}: {manifest.name} version {manifest.version}")
    if digest != store.current:
        print("installed, and not current")
        return
    state = "current" if store.trial is None else "current, and on trial"
    if store.trial is not None and store.previous is None:
        state += " with no previous bundle to go back to"
    print(f"{state}; it runs from the next start of guard and policy, or when the health service restarts them")


def _terms(arguments: argparse.Namespace, allow_downgrade: bool) -> Terms:
    from jetvla.runtime.engine_cache import EngineCache
    from jetvla.services.store.install import Terms
    from jetvla.services.store.self_test import check_at_rest, golden_test

    device = _device(arguments)
    test = None if arguments.skip_golden else golden_test(device.policy, print)
    engines = EngineCache(device.policy.engines)
    terms = Terms(_trusted(arguments), test, allow_downgrade, not arguments.no_activate, engines)
    if test is None or arguments.while_armed:
        return terms
    return replace(terms, check=lambda: check_at_rest(device.status))


def _trusted(arguments: argparse.Namespace) -> tuple[TrustedKey, ...]:
    from jetvla.runtime.keys import NAME_ANOTHER, load_trusted

    return load_trusted(arguments.trusted or _device(arguments).trusted, NAME_ANOTHER)


def _store(arguments: argparse.Namespace) -> Store:
    from jetvla.services.store.store import Store

    return Store(arguments.store or _device(arguments).store)


def _device(arguments: argparse.Namespace) -> _Device:
    """As configured; a device that has no configuration yet gets its bundle all the same."""
    from jetvla.runtime.config import Config, PolicyConfig, load_config

    if arguments.config is None and not DEFAULT_CONFIG.exists():
        fields = Config.model_fields
        status = fields["run_dir"].default / "status.json"
        return _Device(fields["store"].default, fields["trusted"].default, PolicyConfig(), status)
    config = load_config(arguments.config or DEFAULT_CONFIG)
    return _Device(config.store, config.trusted, config.policy, config.status)
