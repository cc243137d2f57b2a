"""TensorRT's names of layers. Where a form was seen is said beside it; only the nodes' names are ours.

"#n" is an issue of github.com/NVIDIA/TensorRT, in which somebody shows what trtexec or the engine inspector printed.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from jetvla.engines.blocks import multiplications
from jetvla.engines.layers.places import Places
from jetvla.engines.layers.plans import nodes_of, place_layers, read_metadata
from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.errors import EngineError

BUNDLE = Path(__file__).parents[2] / "data" / "tiny-bundle"
GRAPH = (
    "/Cast_0",
    "ViT block 1 attention/MatMul_1",
    "ViT block 1 attention/MatMul_2",
    "ViT block 1 attention/Add_3",
    "ViT block 1 MLP/Erf_11",
    "ViT block 1 MLP/MatMul_12",
    "action head/Gemm_13",
)
WEIGHTS = {"fc1.weight": "ViT block 1 MLP/MatMul_12"}
ATTENTION = GRAPH[1:4]


@pytest.mark.parametrize(
    ("layer", "nodes"),
    [
        # A node that became a layer.
        ("action head/Gemm_13", GRAPH[6:]),
        # Fused one after the other: #3842.
        ("ViT block 1 attention/MatMul_2 + ViT block 1 attention/Add_3", GRAPH[2:4]),
        # Fused side by side: #2525, where a maintainer says so.
        ("ViT block 1 attention/MatMul_1 || ViT block 1 attention/MatMul_2", GRAPH[1:3]),
        # Element by element: #2525, and #887 one in the other with the parser's own layers.
        ("ViT block 1 MLP/MatMul_12 + PWN(ViT block 1 MLP/Erf_11)", (GRAPH[5], GRAPH[4])),
        (
            "PWN(PWN((Unnamed Layer* 57) [ElementWise], ViT block 1 MLP/Erf_11), action head/Gemm_13)",
            (GRAPH[4], GRAPH[6]),
        ),
        # Copies from one layout of memory to another: #3842, and to a region: #4236.
        ("Reformatting CopyNode for Input Tensor 0 to ViT block 1 attention/MatMul_1", GRAPH[1:2]),
        (
            "Reformatting CopyNode for Input Tensor 1 to {ForeignNode[ViT block 1 attention/MatMul_1..."
            "ViT block 1 attention/Add_3]}",
            ATTENTION,
        ),
        # Regions by first and last node: #2308; by several nodes: #4397; by a weight: #3768.
        ("{ForeignNode[ViT block 1 attention/MatMul_1...ViT block 1 attention/Add_3]}", ATTENTION),
        ("{ForeignNode[/Cast_0 + ViT block 1 attention/MatMul_1...ViT block 1 attention/Add_3]}", GRAPH[:4]),
        ("{ForeignNode[fc1.weight...action head/Gemm_13]}", GRAPH[5:]),
        ("{ForeignNode[(Unnamed Layer* 3274) [Shuffle]...action head/Gemm_13]}", ()),
        # Kernels that its compiler wrote: #4397. The name tells operators, not nodes.
        ("__myl_GathMulAddMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl0_0", ()),
        # The parser's own: #2575.
        ("(Unnamed Layer* 236) [Shuffle]", ()),
        # Nodes of another graph, one of whose names ends as one of ours.
        ("ViT block 2 attention/MatMul_1", ()),
        ("action head/Gemm_1", ()),
    ],
)
def test_nodes_of_a_layer(layer: str, nodes: tuple[str, ...]) -> None:
    assert nodes_of(layer, GRAPH, WEIGHTS) == nodes


def inspected(folder: Path, *layers: object) -> Path:
    path = folder / "step.fp16.layers.json"
    path.write_text(json.dumps({"Layers": layers, "Bindings": []}))
    return path


def test_the_inspector_names_the_nodes_of_a_kernel(tmp_path: Path) -> None:
    """With detailed verbosity "Metadata" lists them, control characters between: so say published programs that read
    what ``trtexec --exportLayerInfo`` writes."""
    path = inspected(
        tmp_path,
        {
            "Name": "__myl_Fc_myl0_1",
            "Metadata": "[ONNX Layer: a b/MatMul_1]\x1f[ONNX Layer: a b/Add_2]\x1e[ONNX Layer: /Mul_3]",
        },
        {"Name": "__myl_Move_myl0_2"},
    )
    assert read_metadata(path) == {"__myl_Fc_myl0_1": ("a b/MatMul_1", "a b/Add_2", "/Mul_3"), "__myl_Move_myl0_2": ()}


def test_a_report_of_names_alone_tells_no_nodes(tmp_path: Path) -> None:
    """Less verbose engines give strings: #4020."""
    assert read_metadata(inspected(tmp_path, "conv1 + relu1")) == {}


@pytest.mark.parametrize("content", [None, "{", '{"Bindings": []}', '{"Layers": [{"Metadata": ""}]}'])
def test_a_plan_without_its_report_is_to_be_made_again(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "step.fp16.layers.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EngineError, match=r"step\.fp16\.layers\.json does not say .* jetvla compile --again"):
        read_metadata(path)


@pytest.fixture(scope="module")
def places() -> Places:
    return Places(onnx.load(BUNDLE / "step.fp32.onnx"))


def timed(*names: str) -> tuple[LayerTimes, ...]:
    return tuple(LayerTimes(name, "", (), (float(number),)) for number, name in enumerate(names, 1))


def test_layers_get_their_rows_and_all_work_is_counted(places: Places) -> None:
    metadata = {
        "__myl_Fc_myl0_1": ("ViT block 1 attention/MatMul_33", "ViT block 1 attention/Add_34", "/Add_35"),
        "__myl_MeanSub_myl0_2": ("/Add_35", "ViT block 1 MLP/LayerNormalization_36"),
        "__myl_Fc_myl0_3": ("ViT block 1 MLP/MatMul_44", "ViT block 2 attention/MatMul_48"),
    }
    placed = place_layers(
        places,
        metadata,
        timed(
            "patch embedding/MatMul_12",
            "__myl_Fc_myl0_1",
            "__myl_MeanSub_myl0_2",
            "__myl_Fc_myl0_3",
            "(Unnamed Layer* 7) [Shuffle]",
            "{ForeignNode[first fusion layer attention/MatMul_83...action head/Gemm_174]}",
        ),
    )
    rows = {layer.ms[0]: layer.row for layer in placed.layers}
    assert rows == {
        1: "patch embedding",
        # A sum of residuals goes with the product before it; without a product the last block counts.
        2: "ViT block 1 attention",
        3: "ViT block 1 MLP",
        4: "ViT block 1 MLP … ViT block 2 attention",
        5: "",
        6: "first fusion layer attention … action head",
    }
    every = multiplications(places.model)
    assert sum(work.floats for work in placed.work.values()) == sum(every.values())
    assert placed.work["first fusion layer attention … action head"].floats == sum(
        count for node, count in every.items() if "fusion" in node or "action head" in node
    )
    assert placed.work["ViT block 1 MLP … ViT block 2 attention"].floats == (
        every["ViT block 1 MLP/MatMul_44"] + every["ViT block 2 attention/MatMul_48"]
    )
    # Rows stand where their first block would.
    assert placed.order.index("ViT block 1 MLP … ViT block 2 attention") == placed.order.index("ViT block 1 MLP") + 1
    assert placed.order[-1] == "first fusion layer attention … action head"


def test_a_copy_before_a_layer_takes_none_of_its_work(places: Places) -> None:
    node = "patch embedding/MatMul_12"
    copy = f"Reformatting CopyNode for Input Tensor 0 to {{ForeignNode[{node}...action head/Gemm_174]}}"
    placed = place_layers(places, {}, timed(copy, node))
    assert [layer.row for layer in placed.layers] == ["patch embedding … action head", "patch embedding"]
    assert placed.work["patch embedding"].floats == multiplications(places.model)[node]
    assert "patch embedding … action head" not in placed.work


def test_products_of_dequantized_tensors_are_those_of_integers() -> None:
    places = Places(onnx.load(BUNDLE / "step.int8-fp32.onnx"))
    work = place_layers(places, {}, ()).work
    assert work["ViT block 1 MLP"].floats == 0
    assert work["ViT block 1 MLP"].integers > 0
    assert 0 < work["ViT block 1 attention"].floats < work["ViT block 1 attention"].integers
