"""Everything a receipt says, gathered once from a verified bundle."""

from __future__ import annotations

from jetvla.runtime.bundle import MANIFEST, Bundle
from jetvla.runtime.errors import BundleError
from jetvla.runtime.manifest import Manifest
from jetvla.services.receipt.construction import built_with, calibration, files, graphs
from jetvla.services.receipt.document import Receipt
from jetvla.services.receipt.errors import golden, parity, precision
from jetvla.services.receipt.interface import actions, inputs
from jetvla.services.receipt.verdicts import verdicts


def receipt_of(bundle: Bundle) -> Receipt:
    """The receipt of ``bundle``.

    Raises:
        BundleError: a list of the manifest does not have one number for each action dimension, or a graph is no ONNX
            model.
    """
    m = bundle.manifest
    _require_one_number_per_dimension(m)
    measured = (precision(m, report) for report in m.precision)
    return Receipt(
        name=m.name,
        facts=(("Version", str(m.version)), ("Family", m.family), ("Digest", bundle.digest)),
        verdicts=verdicts(bundle),
        sections=(
            inputs(m),
            actions(m),
            parity(m),
            *measured,
            golden(m),
            calibration(m),
            graphs(bundle),
            files(m),
            built_with(m),
        ),
    )


def _require_one_number_per_dimension(m: Manifest) -> None:
    lists = {"golden.scale": m.golden.scale, "parity.max": m.parity.max, "parity.mean": m.parity.mean}
    for report in m.precision:
        where = f"precision {report.precision}"
        lists[f"{where}: error.max"], lists[f"{where}: error.mean"] = report.error.max, report.error.mean
        lists[f"{where}: tolerance"] = report.tolerance
    for where, numbers in lists.items():
        if len(numbers) != len(m.action):
            raise BundleError(
                f"{MANIFEST}: {where} has {len(numbers)} numbers, and the action has {len(m.action)} dimensions; "
                "build the bundle again"
            )
