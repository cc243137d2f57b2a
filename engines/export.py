"""PyTorch modules to ONNX graphs that are portable: one opset, static shapes, finite constants, no traces of the
machine that made them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from jetvla.engines.families.family import MASKED, GraphSource
from jetvla.engines.passes import fold_transposed_weights, pack_projections

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
# Masks are written as the most negative number, which is -inf in FP16.
_MINUS_INFINITY = -1e30


def export_graph(source: GraphSource) -> ModelProto:
    """The ONNX graph of ``source``, named ``source.name``."""
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            source.module,
            tuple(source.inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(source.inputs),
            output_names=list(source.outputs),
            verbose=False,
        )
    assert program is not None  # only the old exporter returns None
    model: ModelProto = program.model_proto
    model.graph.name = source.name
    _forget_origin(model)
    fold_transposed_weights(model)
    pack_projections(model)
    _make_masks_finite(model)
    return model


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide what the exporter says about optional libraries and its own deprecations; nobody can act on it."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _forget_origin(model: ModelProto) -> None:
    """Drop stack traces and module paths: they name this machine's files."""
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]


def _make_masks_finite(model: ModelProto) -> None:
    from onnx import TensorProto, numpy_helper

    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    for tensor in tensors:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        array = numpy_helper.to_array(tensor)
        if array.size and array.min() <= _MINUS_INFINITY:
            finite = np.where(array <= _MINUS_INFINITY, np.float32(MASKED), array).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(finite, tensor.name))
