"""The recurrent parts against the published equations, written out by hand, and against torch's own networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn, sigmoid, tanh  # noqa: E402
from torch.nn.functional import conv1d, conv2d, pad, relu  # noqa: E402

from engines.families import build_family  # noqa: E402
from engines.families.convlstm import ConvLstm, ConvLstmCell  # noqa: E402
from engines.families.memory import GruMemory, LstmMemory, Memory  # noqa: E402
from engines.families.tcn import Tcn  # noqa: E402

BATCH, STEPS, INPUTS, HIDDEN = 3, 20, 5, 4


@pytest.fixture(autouse=True)
def chance() -> None:
    torch.manual_seed(11)


def in_steps(memory: Memory, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    out = []
    for each in x.unbind(1):
        y, state = memory.step(each, state)
        out.append(y)
    return torch.stack(out, 1), state


def zeros(memory: Memory) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(BATCH, *spec.shape) for spec in memory.state_spec())


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", [LstmMemory, GruMemory])
def test_steps_are_torchs_own_network(kind: type[Memory], layers: int) -> None:
    memory = kind(INPUTS, HIDDEN, layers)
    theirs = {LstmMemory: nn.LSTM, GruMemory: nn.GRU}[kind](INPUTS, HIDDEN, layers, batch_first=True)
    theirs.load_state_dict(memory.cells.state_dict())
    x, state = torch.randn(BATCH, STEPS, INPUTS), tuple(torch.randn_like(part) for part in zeros(memory))
    first = tuple(part.transpose(0, 1).contiguous() for part in state)
    expected, last = theirs(x, first if len(first) > 1 else first[0])
    for out, following in (in_steps(memory, x, state), memory(x, state)):
        assert (out - expected).abs().max() < 1e-6
        for ours, each in zip(following, last if len(first) > 1 else (last,), strict=True):
            assert (ours.transpose(0, 1) - each).abs().max() < 1e-6


@torch.no_grad()
def test_the_lstm_is_its_equations_with_two_matrices_a_gate() -> None:
    """i, f, g, o with W_x and W_h each: c = f * c + i * g, h = o * tanh(c)."""
    memory = LstmMemory(INPUTS, HIDDEN)
    w_x, w_h, b_x, b_h = (weights.chunk(4) for weights in memory.cells.all_weights[0])
    x, (h, c) = torch.randn(BATCH, STEPS, INPUTS), torch.zeros(2, BATCH, HIDDEN)
    out, _ = in_steps(memory, x, zeros(memory))
    for t in range(STEPS):
        gates = [x[:, t] @ w_x[k].T + b_x[k] + h @ w_h[k].T + b_h[k] for k in range(4)]
        i, f, g, o = sigmoid(gates[0]), sigmoid(gates[1]), tanh(gates[2]), sigmoid(gates[3])
        c = f * c + i * g
        h = o * tanh(c)
        assert (out[:, t] - h).abs().max() < 1e-6


@torch.no_grad()
def test_the_lstm_is_its_equations_with_one_matrix_over_both() -> None:
    """f, i, C~, o with W [h, x] + b, in that order; taking weights over means permuting and splitting them."""
    w = torch.randn(4, HIDDEN, HIDDEN + INPUTS)
    b = torch.randn(4, HIDDEN)
    memory, torchs_order = LstmMemory(INPUTS, HIDDEN), [1, 0, 2, 3]
    from_input, from_memory, bias, more_bias = memory.cells.all_weights[0]
    from_input.copy_(w[torchs_order, :, HIDDEN:].flatten(0, 1))
    from_memory.copy_(w[torchs_order, :, :HIDDEN].flatten(0, 1))
    bias.copy_(b[torchs_order].flatten())
    more_bias.zero_()
    x, (h, c) = torch.randn(BATCH, STEPS, INPUTS), torch.zeros(2, BATCH, HIDDEN)
    out, _ = in_steps(memory, x, zeros(memory))
    for t in range(STEPS):
        both = torch.cat([h, x[:, t]], 1)
        f, i, candidate, o = (both @ w[k].T + b[k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(candidate)
        h = sigmoid(o) * tanh(c)
        assert (out[:, t] - h).abs().max() < 1e-6


@torch.no_grad()
def test_a_convlstm_of_one_cell_is_an_lstm() -> None:
    cell, memory = ConvLstmCell(INPUTS, HIDDEN, 1, (1, 1)), LstmMemory(INPUTS, HIDDEN)
    from_input, from_memory, bias, more_bias = memory.cells.all_weights[0]
    from_input.copy_(cell.from_input.weight.flatten(1))
    from_memory.copy_(cell.from_memory.weight.flatten(1))
    assert cell.from_input.bias is not None
    bias.copy_(cell.from_input.bias)
    more_bias.zero_()
    x, start = torch.randn(BATCH, STEPS, INPUTS), torch.zeros(BATCH, HIDDEN, 1, 1)
    out, h, c = cell(x[..., None, None], start, start)
    expected, (last_h, last_c) = memory(x, zeros(memory))
    assert (out[..., 0, 0] - expected).abs().max() < 1e-6
    assert (h[..., 0, 0] - last_h[:, 0]).abs().max() < 1e-6
    assert (c[..., 0, 0] - last_c[:, 0]).abs().max() < 1e-6


@torch.no_grad()
def test_the_convlstm_with_peepholes_is_shi_et_als_loop() -> None:
    """Equation 3 of arXiv 1506.04214, each of the eight convolutions by itself."""
    size = (4, 6)
    cell = ConvLstmCell(INPUTS, HIDDEN, 3, size, peepholes=True)
    assert cell.peepholes is not None
    cell.peepholes.copy_(torch.randn(3, HIDDEN, *size))
    w_ci, w_cf, w_co = cell.peepholes
    w_xi, w_xf, w_xc, w_xo = cell.from_input.weight.chunk(4)
    w_hi, w_hf, w_hc, w_ho = cell.from_memory.weight.chunk(4)
    assert cell.from_input.bias is not None
    b_i, b_f, b_c, b_o = cell.from_input.bias[:, None, None].chunk(4)
    x = torch.randn(BATCH, STEPS, INPUTS, *size)
    h, c = torch.zeros(2, BATCH, HIDDEN, *size)
    out, _, last = cell(x, h, c)

    def both(index: int, w_x: Tensor, w_h: Tensor) -> Tensor:
        return conv2d(x[:, index], w_x, padding=1) + conv2d(h, w_h, padding=1)

    for t in range(STEPS):
        i = sigmoid(both(t, w_xi, w_hi) + w_ci * c + b_i)
        f = sigmoid(both(t, w_xf, w_hf) + w_cf * c + b_f)
        o = both(t, w_xo, w_ho)
        c = f * c + i * tanh(both(t, w_xc, w_hc) + b_c)
        h = sigmoid(o + w_co * c + b_o) * tanh(c)
        assert (out[:, t] - h).abs().max() < 1e-5
    assert (last - c).abs().max() < 1e-5


@torch.no_grad()
def test_peepholes_reach_the_answers() -> None:
    options = {"encoder": "pixels", "height": 4, "width": 4, "channels": 3, "peepholes": True}
    model = build_family("convlstm", options).eval()
    assert isinstance(model, ConvLstm)
    features, dt = torch.rand(1, 5, 1, 4, 4), torch.full((1, 5), 0.125)
    before = model(features, dt)[0]
    assert model.cell.peepholes is not None
    model.cell.peepholes.fill_(2.0)
    assert (model(features, dt)[0] - before).abs().max() > 1e-3


@torch.no_grad()
def test_the_tcn_is_a_stack_of_padded_convolutions() -> None:
    options = {"encoder": "pixels", "height": 2, "width": 3, "channels": 7, "levels": 4, "kernel": 3}
    model = build_family("tcn", options).eval()
    assert isinstance(model, Tcn)
    features, dt = torch.rand(BATCH, 50, 6), torch.rand(BATCH, 50) + 0.05
    pace = torch.log(dt * model.fps)[..., None]
    x = (model.reduce(features) + model.paced(pace)).transpose(1, 2)
    for level, block in enumerate(model.blocks):
        y = x
        for conv in (block.first, block.second):
            y = relu(conv1d(pad(y, (2 * 2**level, 0)), conv.weight, conv.bias, dilation=2**level))
        x = relu(x + y)
    expected = model.head(x.transpose(1, 2))
    assert (model(features, dt)[0] - expected).abs().max() < 1e-5
