"""Every operator of the torch back end gives what the ONNX project's own evaluator gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

pytest.importorskip("torch")

from engines.eager import TorchEngine
from engines.eager_ops import OPERATORS
from engines.engine import EngineOptions
from engines.errors import BackendError

RNG = np.random.default_rng(4)
A, B = (RNG.normal(size=(2, 3, 4)).astype(np.float32) for _ in range(2))
POSITIVE = np.abs(A) + 0.1
PICTURE = RNG.normal(size=(2, 4, 6, 5)).astype(np.float32)
ODD = np.array([[np.inf, 1, np.nan], [-np.inf, 0, -2]], np.float32)
FLAGS, OTHERS = RNG.random((2, 3, 4)) > 0.5, RNG.random((2, 3, 4)) > 0.5
KERNEL, GROUPED = RNG.normal(size=(6, 4, 3, 2)).astype(np.float32), RNG.normal(size=(4, 1, 3, 3)).astype(np.float32)
FOUR, SIX = RNG.random(4).astype(np.float32), RNG.random(6).astype(np.float32)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# operator: cases of (inputs, attributes); the first input is fed, the others are constants
CASES: dict[str, list[tuple[list[np.ndarray | None], dict[str, Any]]]] = {
    **{
        name: [([A], {})]
        for name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Neg", "Relu", "Round", "Sigmoid", "Sign")
    },
    **{name: [([A], {})] for name in ("Sin", "Softplus", "Tanh", "HardSwish", "LeakyRelu", "HardSigmoid", "Shape")},
    **{name: [([POSITIVE], {})] for name in ("Log", "Reciprocal", "Sqrt")},
    **{name: [([A, B], {}), ([A, B[:1, :, :1]], {})] for name in ("Add", "Mul", "Sub", "Div", "Max", "Min")},
    **{name: [([A, B], {}), ([A, A], {})] for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    **{name: [([FLAGS, OTHERS], {})] for name in ("And", "Or")},
    **{
        name: [([A, ints(1, 2)], {"keepdims": 0}), ([A, ints(-1)], {}), ([A], {"keepdims": 0})]
        for name in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
    },
    "AveragePool": [([PICTURE], {"kernel_shape": [2, 3], "strides": [2, 1]})],
    "BatchNormalization": [([PICTURE, FOUR, FOUR - 0.5, FOUR * 2, FOUR + 0.1], {"epsilon": 1e-3})],
    "Cast": [([A * 3], {"to": INT64}), ([FLAGS], {"to": FLOAT}), ([A], {"to": TensorProto.BOOL})],
    "Clip": [([A, np.float32(-0.5), np.float32(0.5)], {}), ([A, None, np.float32(0.1)], {})],
    "Concat": [([A, B], {"axis": 1}), ([A, B[:, :, :2]], {"axis": -1})],
    "ConstantOfShape": [
        ([ints(2, 3)], {"value": numpy_helper.from_array(np.array([1.5], np.float32))}),
        ([ints(2)], {}),
    ],
    "Conv": [
        ([PICTURE, KERNEL, SIX], {"pads": [1, 0, 2, 1], "strides": [2, 1], "kernel_shape": [3, 2]}),
        ([PICTURE, GROUPED], {"group": 4, "pads": [2, 2, 2, 2], "dilations": [2, 2], "kernel_shape": [3, 3]}),
    ],
    "Expand": [([A[:, :1], ints(3, 1)], {}), ([A[:1], ints(2, 3, 4)], {})],
    "Flatten": [([PICTURE], {}), ([PICTURE], {"axis": 2})],
    "Gather": [([A, ints(2, 0, -1)], {"axis": 1}), ([A, np.array(1)], {}), ([A, np.array([[0, 1]])], {"axis": 2})],
    "Gelu": [([A], {}), ([A], {"approximate": "tanh"})],
    "Gemm": [([A[0], B[0], SIX[:3]], {"transB": 1, "alpha": 0.5, "beta": 2.0}), ([A[0].T, B[0]], {})],
    "GlobalAveragePool": [([PICTURE], {})],
    "IsInf": [([ODD], {})],
    "IsNaN": [([ODD], {})],
    "LayerNormalization": [([A, FOUR, FOUR - 0.5], {"epsilon": 1e-4})],
    "MatMul": [([A, B.transpose(0, 2, 1)], {}), ([A, B[0].T], {})],
    "MaxPool": [([PICTURE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})],
    "Not": [([FLAGS], {})],
    "Pad": [
        ([A, ints(0, 1, 2, 0, 0, 1), np.float32(7)], {}),
        ([PICTURE, ints(0, 0, 1, 2, 0, 0, 1, 1)], {"mode": "reflect"}),
    ],
    "Pow": [([POSITIVE, np.float32(1.5)], {})],
    "Reshape": [([A, ints(0, -1)], {}), ([A, ints(4, 3, 2)], {})],
    "ScatterND": [([A, np.array([[1]]), B[:1]], {})],
    "Slice": [([A, ints(1), ints(3), ints(1)], {}), ([A, ints(0, -3), ints(9, 9), ints(1, 2), ints(2, 1)], {})],
    "Softmax": [([A], {}), ([A], {"axis": 1})],
    "Split": [([A], {"axis": 2, "num_outputs": 3}), ([A, ints(1, 3)], {"axis": 2})],
    "Squeeze": [([A[:, :1], ints(1)], {}), ([A[:1, :1]], {})],
    "Tile": [([A, ints(1, 2, 3)], {})],
    "Transpose": [([A], {}), ([A], {"perm": [2, 0, 1]})],
    "Unsqueeze": [([A, ints(0, -1)], {})],
    "Where": [([FLAGS, A, B], {}), ([FLAGS, A, np.float32(0)], {})],
}


def model(kind: str, inputs: list[np.ndarray | None], attributes: dict[str, Any]) -> tuple[bytes, int]:
    names = ["" if each is None else f"x{i}" for i, each in enumerate(inputs)]
    count = attributes.get("num_outputs", 2 if kind == "Split" else 1)
    outputs = [f"y{i}" for i in range(count)]
    first = inputs[0]
    assert first is not None
    x = helper.make_tensor_value_info("x0", helper.np_dtype_to_tensor_dtype(first.dtype), first.shape)
    constants = [
        numpy_helper.from_array(np.asarray(each), f"x{i}") for i, each in enumerate(inputs) if i and each is not None
    ]
    node = helper.make_node(kind, names, outputs, **attributes)
    wanted = ReferenceEvaluator(
        helper.make_model(
            helper.make_graph([node], "g", [x], [helper.make_empty_tensor_value_info(y) for y in outputs], constants),
            opset_imports=[helper.make_opsetid("", 20)],
        )
    ).run(None, {"x0": first})
    ys = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.asarray(each).dtype), np.asarray(each).shape
        )
        for name, each in zip(outputs, wanted, strict=True)
    ]
    graph = helper.make_graph([node], "g", [x], ys, constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    ).SerializeToString(), count


@pytest.mark.parametrize(("kind", "case"), [(kind, i) for kind, cases in CASES.items() for i in range(len(cases))])
def test_operator(kind: str, case: int) -> None:
    inputs, attributes = CASES[kind][case]
    data, _ = model(kind, inputs, attributes)
    expected = ReferenceEvaluator(data).run(None, {"x0": inputs[0]})
    engine = TorchEngine.open(data, EngineOptions("one.onnx"))
    found = engine.run({"x0": np.asarray(inputs[0])})
    for name, value in zip([spec.name for spec in engine.outputs], expected, strict=True):
        assert found[name].dtype == np.asarray(value).dtype
        assert found[name].shape == np.asarray(value).shape
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_no_operator_is_untested() -> None:
    assert set(OPERATORS) - set(CASES) == {"Constant"}


def test_an_operator_without_a_function_is_named() -> None:
    x, y = (helper.make_tensor_value_info(name, FLOAT, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Hardmax", ["x"], ["y"])], "g", [x], [y])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    with pytest.raises(BackendError, match=r"torch cannot load one\.onnx: vidpipe has no Hardmax for it, use another"):
        TorchEngine.open(data, EngineOptions("one.onnx"))


def test_a_constant_node_is_a_tensor() -> None:
    value = numpy_helper.from_array(np.array([2.0, 3.0], np.float32))
    nodes = [helper.make_node("Constant", [], ["c"], value=value), helper.make_node("Mul", ["x", "c"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, FLOAT, ["N", 2]) for name in "xy")
    data = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    ).SerializeToString()
    engine = TorchEngine.open(data, EngineOptions("one.onnx"))
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 3.0]]
