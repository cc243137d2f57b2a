"""PyTorch modules to ONNX graphs that are portable: one opset, static shapes, finite constants, no traces of the
machine that made them."""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from jetvla.engines.families.family import MASKED, GraphSource
from jetvla.engines.graph import block_of
from jetvla.engines.passes import fold_transposed_weights, pack_projections
from jetvla.engines.patches import patches_as_products

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = 18
# Masks are written as the most negative number, which is -inf in FP16.
_MINUS_INFINITY = -1e30
# Where the exporter leaves a node's module paths, outermost first, and its own name for the node last.
_SCOPES = "pkg.torch.onnx.name_scopes"


def export_graph(source: GraphSource, block: Callable[[str], str] = lambda module: "") -> ModelProto:
    """The ONNX graph of ``source``, named ``source.name``.

    Args:
        source: what to export.
        block: :meth:`PolicyFamily.block`; nodes are named by it (see :mod:`jetvla.engines.graph`).
    """
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
    _name_by_block(model, block)
    _forget_origin(model)
    fold_transposed_weights(model)
    patches_as_products(model)
    pack_projections(model)
    _make_masks_finite(model)
    _number_nodes(model)
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
            # It folds constants; what overflows there is found when the graph runs.
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_by_block(model: ModelProto, block: Callable[[str], str]) -> None:
    blocks: dict[str, str] = {}
    for number, node in enumerate(model.graph.node):
        module = _module(node)
        # What the exporter itself added belongs to what it reads.
        own = next((blocks[name] for name in node.input if name in blocks), "") if module is None else block(module)
        blocks.update(dict.fromkeys(node.output, own))
        node.name = f"{own}/{node.op_type}_{number}"


def _module(node: NodeProto) -> str | None:
    """Dotted path of the innermost module that ``node`` is from; None if it is from none."""
    scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
    path = [] if scopes is None else ast.literal_eval(scopes)
    return str(path[-2]) if len(path) > 1 else None


def _number_nodes(model: ModelProto) -> None:
    """Number the nodes in their order, without gaps."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{block_of(node.name)}/{node.op_type}_{number}"


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
