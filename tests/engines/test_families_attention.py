"""Attention against the papers' equations, written out one step, head and node at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from engines.errors import ConfigError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.attention_lstm import AttentionLstm  # noqa: E402
from engines.families.contract import StreamModel  # noqa: E402
from engines.families.graph import Graph, GraphAttention  # noqa: E402
from engines.families.transformer import Layer, Transformer, TransformerOptions  # noqa: E402

VECTOR = {"encoder": "pixels", "height": 3, "width": 4}
MAP = {"encoder": "conv", "height": 24, "width": 32}
"""Features are maps of 48 channels, 3 x 4 cells."""
WINDOW, HEADS = 6, 2


def made(family: str, **options: object) -> StreamModel:
    """A network that looks at what it should: random attention of some strength, not the flat one of the start."""
    torch.manual_seed(2)
    encoder = VECTOR if family == "transformer" else MAP
    model = build_family(family, {**encoder, **options}).eval().requires_grad_(requires_grad=False)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.mul_(3)
    return model


def footage(model: StreamModel, steps: int, streams: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    features = torch.rand((streams, steps, *model.features), generator=generator)
    return features, torch.rand((streams, steps), generator=generator) / model.fps + 0.05


def paces(model: StreamModel, dt: Tensor) -> Tensor:
    return torch.log((dt * model.fps).clamp(1 / 32, 32))


@pytest.fixture
def transformer() -> Transformer:
    model = made("transformer", hidden=8, heads=HEADS, layers=2, window=WINDOW)
    assert isinstance(model, Transformer)
    for layer in model.layers:
        layer.by_age.uniform_(-1, 1)
    return model


def banded(model: Transformer, features: Tensor, dt: Tensor) -> Tensor:
    """The same network as a list of words, each of which reads itself and the `window - 1` words before it."""
    words = [model.reduce(torch.cat([x, pace[None]])) for x, pace in zip(features, paces(model, dt), strict=True)]
    for layer in model.layers:
        words = [attended(layer, words, at) for at in range(len(words))]
    return torch.stack([model.head(model.last(word)) for word in words])


def attended(layer: Layer, words: list[Tensor], at: int) -> Tensor:
    width = len(words[0]) // HEADS
    heads = []
    for head in range(HEADS):
        mine = slice(head * width, (head + 1) * width)
        asked, *_ = (part[mine] for part in layer.look(layer.before(words[at])).chunk(3))
        scores, values = [], []
        for other in range(max(0, at - WINDOW + 1), at + 1):
            _, key, value = (part[mine] for part in layer.look(layer.before(words[other])).chunk(3))
            scores.append(asked.dot(key) / math.sqrt(width) + layer.by_age[head, WINDOW - 1 - (at - other)])
            values.append(value)
        weights = torch.softmax(torch.stack(scores), 0)
        heads.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
    word = words[at] + layer.out(torch.cat(heads))
    return word + layer.think(word)


def test_the_transformer_is_banded_attention(transformer: Transformer) -> None:
    features, dt = footage(transformer, 3 * WINDOW)
    expected = torch.stack([banded(transformer, *row) for row in zip(features, dt, strict=True)])
    assert (transformer(features, dt)[0] - expected).abs().max() < 1e-5
    assert expected.std() > 0.1


def test_the_transformer_takes_up_where_another_pass_ended(transformer: Transformer) -> None:
    features, dt = footage(transformer, 3 * WINDOW)
    expected = banded(transformer, features[0], dt[0])
    for first in (1, 4, WINDOW, 2 * WINDOW + 1):
        _, state = transformer(features[:1, :first], dt[:1, :first])
        logits, _ = transformer(features[:1, first:], dt[:1, first:], state)
        assert (logits[0] - expected[first:]).abs().max() < 1e-5, first


def test_a_long_sequence_is_the_same_in_parts_and_at_once(transformer: Transformer) -> None:
    """150 steps are more than two parts; the reference knows no parts."""
    features, dt = footage(transformer, 150, streams=1)
    assert (transformer(features, dt)[0][0] - banded(transformer, features[0], dt[0])).abs().max() < 1e-5


def test_the_transformer_forgets_what_its_receptive_field_has_passed(transformer: Transformer) -> None:
    assert transformer.receptive_field == 2 * (WINDOW - 1) + 1
    features, dt = footage(transformer, 40)
    changed = features.clone()
    changed[:, 0] += 1.0
    difference = (transformer(features, dt)[0] - transformer(changed, dt)[0]).abs().amax((0, 2))
    assert (difference[: transformer.receptive_field] > 1e-5).all()
    assert not difference[transformer.receptive_field :].any()


def test_an_old_stream_answers_like_a_young_one(transformer: Transformer) -> None:
    """No position in it: after the receptive field the answers do not depend on how long the stream has run."""
    features, dt = footage(transformer, 60)
    old = transformer(features, dt)[0]
    young = transformer(features[:, 37:], dt[:, 37:])[0]
    full = transformer.receptive_field - 1
    assert (old[:, 37 + full :] - young[:, full:]).abs().max() < 1e-5
    assert (old[:, 37 : 37 + 3] - young[:, :3]).abs().max() > 1e-3


def test_the_bias_by_age_starts_as_slopes() -> None:
    layer = Layer(TransformerOptions(encoder="pixels", hidden=8, heads=4, window=5))
    slopes = torch.tensor([1 / 4, 1 / 16, 1 / 64, 1 / 256])  # Press et al. 2021, for 4 heads
    ages = torch.tensor([4.0, 3, 2, 1, 0])
    assert torch.allclose(layer.by_age, -slopes[:, None] * ages)


@pytest.fixture
def attention_lstm() -> AttentionLstm:
    model = made("attention_lstm", reduced=5, hidden=6, attention=4, memory=WINDOW)
    assert isinstance(model, AttentionLstm)
    return model


def told(model: AttentionLstm, features: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, spatial and temporal weights of one stream, by torch's own LSTM cell and lists."""
    cell = single(torch.nn.LSTMCell, model.memory.cells)
    h = c = torch.zeros(cell.hidden_size)
    hiddens: list[Tensor] = []
    answers, looks, recalls = [], [], []
    for x, pace in zip(features, paces(model, dt), strict=True):
        cells = [model.reduce(x[:, row, column]) for row in range(x.shape[1]) for column in range(x.shape[2])]
        look = additive(model.where, cells, h)
        seen = sum(weight * each for weight, each in zip(look, cells, strict=True))
        h, c = (part[0] for part in cell(torch.cat([seen, pace[None]])[None], (h[None], c[None])))
        hiddens.append(h)
        last = hiddens[-WINDOW:]
        recall = additive(model.when, last, h)
        context = sum(weight * each for weight, each in zip(recall, last, strict=True))
        answers.append(model.head(torch.cat([h, context])))
        looks.append(look.reshape(x.shape[1:]))
        recalls.append(functional.pad(recall, (WINDOW - len(last), 0)))
    return torch.stack(answers), torch.stack(looks), torch.stack(recalls)


def single(kind: type[torch.nn.RNNCellBase], cells: torch.nn.RNNBase) -> torch.nn.RNNCellBase:
    """Torch's cell for one step with the weights of its network for sequences."""
    cell = kind(cells.input_size, cells.hidden_size)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict(dict(zip(names, cells.all_weights[0], strict=True)))
    return cell


def additive(attention: torch.nn.Module, things: list[Tensor], question: Tensor) -> Tensor:
    v = attention.weigh.weight[0]
    scores = [v.dot(torch.tanh(attention.keys(x) + attention.ask(question))) for x in things]
    return torch.softmax(torch.stack(scores), 0)


def test_the_attention_lstm_is_the_papers_equations(attention_lstm: AttentionLstm) -> None:
    features, dt = footage(attention_lstm, 3 * WINDOW)
    explained = attention_lstm.explain(features, dt)
    for row in range(2):
        answers, looks, recalls = told(attention_lstm, features[row], dt[row])
        assert (explained.logits[row] - answers).abs().max() < 1e-5
        assert (explained.spatial[row] - looks).abs().max() < 1e-5
        assert (explained.temporal[row] - recalls).abs().max() < 1e-5
    assert explained.spatial.std() > 0.01  # they do look somewhere
    assert explained.temporal[:, WINDOW:].std() > 0.01


def test_weights_are_shares_and_nothing_is_recalled_from_before_the_stream(attention_lstm: AttentionLstm) -> None:
    features, dt = footage(attention_lstm, 2 * WINDOW)
    explained = attention_lstm.explain(features, dt)
    assert explained.spatial.shape == (2, 2 * WINDOW, 3, 4)
    assert explained.temporal.shape == (2, 2 * WINDOW, WINDOW)
    assert torch.allclose(explained.spatial.sum((2, 3)), torch.ones(2, 2 * WINDOW))
    assert torch.allclose(explained.temporal.sum(2), torch.ones(2, 2 * WINDOW))
    for step in range(WINDOW):
        assert not explained.temporal[:, step, : WINDOW - 1 - step].any()
        assert explained.temporal[:, step, WINDOW - 1 - step :].all()


def test_explanations_go_on_from_a_state(attention_lstm: AttentionLstm) -> None:
    features, dt = footage(attention_lstm, 20)
    whole = attention_lstm.explain(features, dt)
    before = attention_lstm.explain(features[:, :9], dt[:, :9])
    after = attention_lstm.explain(features[:, 9:], dt[:, 9:], before.state)
    for name in ("logits", "spatial", "temporal"):
        parts = torch.cat([getattr(before, name), getattr(after, name)], 1)
        assert (parts - getattr(whole, name)).abs().max() < 1e-5, name


def test_attention_learns_to_look_where_the_answer_is() -> None:
    torch.manual_seed(0)
    model = build_family("attention_lstm", {**MAP, "reduced": 8, "hidden": 8, "attention": 8, "memory": 2})
    assert isinstance(model, AttentionLstm)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    dt = torch.full((64, 2), 1 / 8)
    for _ in range(120):
        features, _, classes = marked(64)
        optimizer.zero_grad()
        functional.cross_entropy(model(features, dt)[0].flatten(0, 1), classes.flatten()).backward()
        optimizer.step()
    features, where, classes = marked(64)
    explained = model.explain(features, dt)
    assert (explained.logits.argmax(2) == classes).float().mean() > 0.9
    on_it = explained.spatial.flatten(2).gather(2, where[..., None])
    assert on_it.mean() > 0.5, "chance is 1 / 12"


def marked(streams: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps `[N, 2, 48, 3, 4]`, the cell that counts and the class.

    Every cell says a class in channel 1, at random; the one that is marked in channel 0 says the right one.
    """
    maps = torch.zeros(streams, 2, 48, 12)
    maps[:, :, 1] = 2.0 * torch.randint(2, (streams, 2, 12)) - 1
    where = torch.randint(12, (streams, 2))
    maps[:, :, 0].scatter_(2, where[..., None], 2.0)
    classes = (maps[:, :, 1].gather(2, where[..., None])[..., 0] > 0).long()
    return maps.reshape(streams, 2, 48, 3, 4), where, classes


@pytest.fixture(params=[{"grid": 0}, {"grid": 2}])
def graph(request: pytest.FixtureRequest) -> Graph:
    model = made("graph", hidden=6, heads=HEADS, **request.param)
    assert isinstance(model, Graph)
    return model


def nodewise(model: Graph, features: Tensor, dt: Tensor) -> Tensor:
    """One stream's logits: pictures pooled by torch, attention pair by pair, and a cell of torch's for each node."""
    cell = single(torch.nn.GRUCell, model.memory.cells)
    memories = torch.zeros(len(model.place), cell.hidden_size)
    grid = model.options.grid or features.shape[2:]
    answers = []
    for x, pace in zip(features, paces(model, dt), strict=True):
        pictures = functional.adaptive_avg_pool2d(x, grid).flatten(1).T
        nodes = [
            model.settle(model.reduce(picture) + place) for picture, place in zip(pictures, model.place, strict=True)
        ]
        messages = [message(model.exchange, nodes, node) for node in nodes]
        seen = [torch.cat([node, heard, pace[None]]) for node, heard in zip(nodes, messages, strict=True)]
        memories = torch.stack([cell(x[None], h[None])[0] for x, h in zip(seen, memories, strict=True)])
        answers.append(model.head(torch.cat([memories.mean(0), memories.amax(0)])))
    return torch.stack(answers)


def message(attention: GraphAttention, nodes: list[Tensor], asking: Tensor) -> Tensor:
    heads = []
    for head in range(HEADS):
        width = len(asking) // HEADS
        scores = []
        for other in nodes:
            pair = attention.asks(attention.carry(asking))[head] + attention.tells(attention.carry(other))[head]
            scores.append(torch.where(pair > 0, pair, 0.2 * pair))
        weights = torch.softmax(torch.stack(scores), 0)
        parts = [attention.carry(other)[head * width : (head + 1) * width] for other in nodes]
        heads.append(sum(weight * part for weight, part in zip(weights, parts, strict=True)))
    return torch.relu(torch.cat(heads))


def test_the_graph_is_attention_and_a_gru_in_each_node(graph: Graph) -> None:
    features, dt = footage(graph, 12)
    expected = torch.stack([nodewise(graph, *row) for row in zip(features, dt, strict=True)])
    assert (graph(features, dt)[0] - expected).abs().max() < 1e-5
    assert expected.std() > 1e-2


def test_nodes_are_told_apart_by_their_place_alone() -> None:
    """Without the places, a mirrored picture is the same graph; with them it is another."""
    model = made("graph", hidden=6, heads=HEADS, grid=0)
    features, dt = footage(model, 6)
    mirrored = features.flip(-1)
    assert (model(features, dt)[0] - model(mirrored, dt)[0]).abs().max() > 1e-3
    model.place.zero_()
    assert (model(features, dt)[0] - model(mirrored, dt)[0]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("transformer", {"hidden": 10, "heads": 4}, "transformer shares hidden among heads: 10 is no multiple of 4"),
        ("transformer", {"window": 1}, "window"),
        ("graph", {"hidden": 10, "heads": 4}, "graph shares hidden among heads: 10 is no multiple of 4"),
        ("graph", {"grid": 4}, "graph has a map of 3x4 cells: grid 4 is too fine, take 3 or less, or 0 for every cell"),
        ("attention_lstm", {"memory": 1}, "memory"),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(family: str, options: Mapping[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as refused:
        build_family(family, {**MAP, **options})
    assert "\n" not in str(refused.value)
