"""Everything a receipt says, gathered once from a verified bundle."""

from __future__ import annotations

from jetvla.runtime.bundle import Bundle
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
