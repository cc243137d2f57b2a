"""The four questions that come first: is it the same policy, what ships, what is worst, who signed it."""

from __future__ import annotations

import math

from jetvla.runtime.bundle import SIGNATURE, Bundle
from jetvla.runtime.manifest import Manifest, PrecisionReport, is_fp32_on_jetson
from jetvla.services.receipt.document import Tone, Verdict
from jetvla.services.receipt.errors import judges, worst_dimension
from jetvla.services.receipt.wording import PRECISION_NAMES, number, percent, plural


def verdicts(bundle: Bundle) -> tuple[Verdict, ...]:
    m = bundle.manifest
    return (_parity(m), _ships(m), *(_worst(m, report) for report in m.precision), _signature(bundle))


def _parity(m: Manifest) -> Verdict:
    """The golden tolerance is the limit that the runtime itself holds the FP32 graphs to."""
    rows = zip(m.parity.max, m.golden.scale, m.action.dimensions, strict=True)
    relative = [(largest / scale if scale else float(largest > 0), d, largest) for largest, scale, d in rows]
    share, dimension, largest = max(relative, key=lambda row: row[0])
    same = share <= m.golden.tolerance.get("fp32", 0.0)
    return Verdict(
        "Is it the checkpoint's policy?",
        "Yes, in FP32" if same else "No: FP32 differs",
        f"Largest difference {number(largest)} {dimension.unit} ({dimension.name}), {number(share)} of its range, in "
        f"{plural(m.parity.samples, 'observation')}.",
        "good" if same else "bad",
    )


def _ships(m: Manifest) -> Verdict:
    refused = [f"{PRECISION_NAMES[r.precision]} does not: {r.reason}." for r in m.precision if not r.written]
    if is_fp32_on_jetson(m.precision):
        refused.append("For a Jetson: FP32 only.")
    forced = [f"{PRECISION_NAMES[r.precision]} is over its tolerance." for r in m.precision if _forced(r)]
    tone: Tone = "bad" if forced else "warning" if refused else "good"
    tried = "Every precision that was tried." if m.precision else "No other precision was tried."
    answer = ", ".join(PRECISION_NAMES[p] for p in m.step_precisions)
    return Verdict("What ships?", answer, " ".join([*refused, *forced]) or tried, tone)


def _forced(report: PrecisionReport) -> bool:
    return report.written and not report.tolerance_share <= 1


def _worst(m: Manifest, report: PrecisionReport) -> Verdict:
    worst = worst_dimension(m, report)
    tone: Tone = "good" if report.tolerance_share <= 1 else "bad" if report.written else "warning"
    question = f"Worst dimension in {PRECISION_NAMES[report.precision]}?"
    if not math.isfinite(worst.mean):
        return Verdict(question, f"{worst.name}: not finite", f"In {judges(report)}.", tone)
    return Verdict(
        question,
        f"{worst.name}: {percent(worst.share)} of tolerance",
        f"Mean error {number(worst.mean)} {worst.unit}, tolerance {number(worst.tolerance)} {worst.unit}, largest "
        f"error {number(worst.max)} {worst.unit}; {judges(report)}.",
        tone,
    )


def _signature(bundle: Bundle) -> Verdict:
    question = "Who signed it?"
    if bundle.signer is not None:
        return Verdict(question, bundle.signer.name, f"Key {bundle.signer.id}, which is trusted here.", "good")
    if (bundle.path / SIGNATURE).is_file():
        detail = "It is signed; --trusted DIR checks by whom."
        return Verdict(question, "Signed, signer not checked", detail, "warning")
    return Verdict(
        question, "Unsigned", "A robot runs signed bundles only: sign it with 'jetvla bundle sign'.", "warning"
    )
