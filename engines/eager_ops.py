"""ONNX operators as torch functions, for opsets 18 to 21: those that the graphs of vidpipe and its encoders use.

https://onnx.ai/onnx/operators/. Each function takes the node's inputs (None where one is left out) and its attributes
and gives one tensor or a tuple of them. Integer tensors that describe shapes stay on the CPU, so that no operator has
to wait for a GPU to learn one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

import torch
import torch.nn.functional as nn
from torch import Tensor

Attributes: TypeAlias = Mapping[str, Any]
Operator: TypeAlias = Callable[..., Any]

# TensorProto.DataType, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


def _ints(tensor: Tensor | None) -> list[int]:
    return [] if tensor is None else [int(value) for value in tensor.reshape(-1).tolist()]


def _axes(x: Tensor, axes: Tensor | None) -> list[int]:
    return _ints(axes) if axes is not None and axes.numel() else list(range(x.dim()))


def _div(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc") if whole else torch.div(x, y)


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x.clamp(None if low is None else low.to(x.device), None if high is None else high.to(x.device))


def _where(a: Attributes, flags: Tensor, x: Tensor, y: Tensor) -> Tensor:
    device = next((each.device for each in (flags, x, y) if each.device.type != "cpu"), flags.device)
    return torch.where(flags.to(device), x.to(device), y.to(device))


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def reduce(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        if axes is None and "axes" in a:
            axes = torch.tensor(a["axes"])
        return function(x, dim=_axes(x, axes), keepdim=bool(a.get("keepdims", 1)))

    return reduce


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    lengths = _ints(shape)
    if not a.get("allowzero", 0):
        lengths = [x.shape[i] if length == 0 else length for i, length in enumerate(lengths)]
    return x.reshape(lengths)


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    places = _ints(axes)
    rank = x.dim() + len(places)
    for place in sorted(axis % rank for axis in places):
        x = x.unsqueeze(place)
    return x


def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_ints(axes)))


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if sizes is not None:
        return tuple(torch.split_with_sizes(x, _ints(sizes), axis))
    length, count = x.shape[axis], a["num_outputs"]
    each = -(-length // count)
    return tuple(torch.split_with_sizes(x, [min(each, length - i * each) for i in range(count)], axis))


def _slice(
    a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    places = _ints(axes) or list(range(starts.numel()))
    strides = _ints(steps) or [1] * len(places)
    index = [slice(None)] * x.dim()
    for axis, start, end, stride in zip(places, _ints(starts), _ints(ends), strides, strict=True):
        if stride < 0:
            raise NotImplementedError("Slice with a negative step")
        index[axis] = slice(start, end, stride)
    return x[tuple(index)]


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.dim()
    index = index.to(x.device, torch.int64)
    picked = x.index_select(axis, (index % x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _scatter_nd(a: Attributes, x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    return x.index_put(tuple(index.to(x.device).unbind(-1)), values)


def _expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    lengths = torch.broadcast_shapes(x.shape, tuple(_ints(shape)))  # type: ignore[no-untyped-call]
    return x.expand(lengths)


def _constant(a: Attributes) -> Tensor:
    value = next(iter(a.values()))
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    value = a.get("value", torch.zeros(1))
    return torch.full(_ints(shape), value.item(), dtype=value.dtype)


def _pad(a: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    places = [axis % x.dim() for axis in _ints(axes)] or list(range(x.dim()))
    given, count = _ints(pads), len(places)
    around = {axis: (given[i], given[i + count]) for i, axis in enumerate(places)}
    flat = [length for axis in reversed(range(x.dim())) for length in around.get(axis, (0, 0))]
    while flat and not any(flat[-2:]):
        del flat[-2:]  # torch pads by reflection only the last axes
    mode = a.get("mode", "constant")
    return nn.pad(x, flat, mode=mode, value=float(value) if value is not None and mode == "constant" else None)


def _padded(a: Attributes, x: Tensor, value: float = 0.0) -> Tensor:
    """The input with the `pads` (or `auto_pad`) of a convolution or pooling around it."""
    rank = x.dim() - 2
    pads = list(a.get("pads", [0] * 2 * rank))
    if a.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        raise NotImplementedError("auto_pad")
    flat = [length for axis in reversed(range(rank)) for length in (pads[axis], pads[axis + rank])]
    return nn.pad(x, flat, value=value) if any(flat) else x


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    convolve: Operator = (nn.conv1d, nn.conv2d, nn.conv3d)[rank - 1]
    ones = [1] * rank
    out: Tensor = convolve(
        _padded(a, x), weight, bias, a.get("strides", ones), 0, a.get("dilations", ones), a.get("group", 1)
    )
    return out


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    pool: Operator = (nn.max_pool1d, nn.max_pool2d, nn.max_pool3d)[x.dim() - 3]
    padded = _padded(a, x, float("-inf"))
    out: Tensor = pool(padded, a["kernel_shape"], a.get("strides"), ceil_mode=bool(a.get("ceil_mode", 0)))
    return out


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    if any(a.get("pads", [])) and not a.get("count_include_pad", 0):
        raise NotImplementedError("AveragePool over padding")
    pool: Operator = (nn.avg_pool1d, nn.avg_pool2d, nn.avg_pool3d)[x.dim() - 3]
    out: Tensor = pool(_padded(a, x), a["kernel_shape"], a.get("strides"), ceil_mode=bool(a.get("ceil_mode", 0)))
    return out


def _gemm(a: Attributes, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    x, y = (x.T if a.get("transA", 0) else x), (y.T if a.get("transB", 0) else y)
    product = a.get("alpha", 1.0) * (x @ y) if a.get("alpha", 1.0) != 1.0 else x @ y
    return product if z is None else product + a.get("beta", 1.0) * z


def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return nn.batch_norm(x, mean, var, scale, bias, eps=a.get("epsilon", 1e-5))


def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = a.get("axis", -1) % x.dim()
    return nn.layer_norm(x, x.shape[axis:], scale, bias, a.get("epsilon", 1e-5))


def _is_inf(a: Attributes, x: Tensor) -> Tensor:
    if not (a.get("detect_positive", 1) and a.get("detect_negative", 1)):
        raise NotImplementedError("IsInf of one sign")
    return torch.isinf(x)


def _gelu(a: Attributes, x: Tensor) -> Tensor:
    return nn.gelu(x, approximate=a.get("approximate", "none"))


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes."""
    return lambda a, *inputs: function(*inputs)


def _pair(function: Callable[..., Tensor]) -> Operator:
    """An operator of two or more tensors, of which one may be a constant that stayed on the CPU."""

    def operate(a: Attributes, *inputs: Tensor) -> Tensor:
        device = next((each.device for each in inputs if each.device.type != "cpu"), inputs[0].device)
        result = inputs[0].to(device)
        for each in inputs[1:]:
            result = function(result, each.to(device))
        return result

    return operate


OPERATORS: dict[str, Operator] = {
    **{
        name: _plain(getattr(torch, name.lower()))
        for name in (
            "Abs",
            "Ceil",
            "Cos",
            "Erf",
            "Exp",
            "Floor",
            "Log",
            "Neg",
            "Reciprocal",
            "Relu",
            "Round",
            "Sigmoid",
        )
    },
    **{name: _plain(getattr(torch, name.lower())) for name in ("IsNaN", "Sign", "Sin", "Sqrt", "Tanh")},
    "Add": _pair(torch.add),
    "And": _pair(torch.logical_and),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda a, x: x.to(DTYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _div,
    "Equal": _pair(torch.eq),
    "Expand": _expand,
    "Flatten": lambda a, x: x.reshape(prod(x.shape[: a.get("axis", 1)]), -1),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "Greater": _pair(torch.gt),
    "GreaterOrEqual": _pair(torch.ge),
    "HardSigmoid": lambda a, x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _plain(nn.hardswish),
    "Identity": _plain(lambda x: x),
    "IsInf": _is_inf,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: nn.leaky_relu(x, a.get("alpha", 0.01)),
    "Less": _pair(torch.lt),
    "LessOrEqual": _pair(torch.le),
    "MatMul": _pair(torch.matmul),
    "Max": _pair(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _pair(torch.minimum),
    "Mul": _pair(torch.mul),
    "Not": _plain(torch.logical_not),
    "Or": _pair(torch.logical_or),
    "Pad": _pad,
    "Pow": _pair(torch.pow),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Reshape": _reshape,
    "ScatterND": _scatter_nd,
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0) : a.get("end", x.dim())]),
    "Slice": _slice,
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Softplus": _plain(nn.softplus),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _pair(torch.sub),
    "Tile": lambda a, x, repeats: x.repeat(_ints(repeats)),
    "Transpose": lambda a, x: x.permute(a.get("perm", list(range(x.dim()))[::-1])),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
