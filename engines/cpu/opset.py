"""The opset of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

# The first with Attention.
OPSET = 23
# Shapes and axes, which the converter may read, are below this many bytes.
_SMALL = 1 << 10


def raise_opset(model: ModelProto) -> None:
    """Convert ``model`` to :data:`OPSET`, in place."""
    from onnx import helper, version_converter

    weights = list(model.graph.initializer)
    large = [tensor for tensor in weights if len(tensor.raw_data) > _SMALL]
    # The converter copies the model several times, so large weights become inputs meanwhile.
    stand_ins = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large]
    small = [tensor for tensor in weights if len(tensor.raw_data) <= _SMALL]
    graph = helper.make_graph(
        model.graph.node, model.graph.name, [*model.graph.input, *stand_ins], model.graph.output, small
    )
    bare = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    converted = version_converter.convert_version(bare, OPSET)
    inputs = {value.name for value in model.graph.input}
    kept = [value for value in converted.graph.input if value.name in inputs]
    del converted.graph.input[:]
    converted.graph.input.extend(kept)
    converted.graph.initializer.extend(large)
    # Shapes may become the instruction's.
    del converted.graph.value_info[:]
    model.CopyFrom(converted)
