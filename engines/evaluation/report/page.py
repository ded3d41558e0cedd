"""The report as one self-contained HTML page: what came out first, what it was made with last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path

from engines.errors import ConfigError
from engines.evaluation.judging import Material
from engines.evaluation.record import Evaluation, Mistake
from engines.evaluation.report import plots
from engines.evaluation.report.strips import strip
from engines.evaluation.report.style import canvas
from engines.evaluation.resampling import Figure
from engines.evaluation.wording import TITLES, agreement_text, data_text, interval_text, stream_text

_TILES = ("accuracy", "auc", "event_f1_tiou_0.3", "delay_median_s", "false_alarms_per_hour", "quiet_in_alarm", "ece")
_MOST_TILES = 6


def check_report(path: Path) -> None:
    """Find out that a report cannot be made before the evaluation, not after it.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    with canvas(1.0, 1.0, "try"), _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a", encoding="utf-8").close()


def write_report(found: Evaluation, material: Material, path: Path) -> None:
    """Write the page.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    page = render(found, material)
    with _writing(path):
        path.write_text(page, encoding="utf-8")


def render(found: Evaluation, material: Material) -> str:
    """The page as HTML."""
    style = files("engines.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(f"{found.model.name} {found.model.version}: evaluation")
    body = "\n".join(part for section in _sections(found, material) for part in section)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"the report cannot be written to {path}: {error.strerror}: choose another file") from error


def _sections(found: Evaluation, material: Material) -> Iterator[Iterator[str]]:
    yield _head(found)
    yield _baselines(found)
    yield _decisions(found)
    if found.stream is not None:
        yield _stream(found, material)
    yield _figures(found)
    yield _groups(found)
    yield _mistakes(found, material)
    yield _facts(found)


def _head(found: Evaluation) -> Iterator[str]:
    model = found.model
    yield f"<header><h1>{escape(model.name)} <small>{escape(model.version)}</small></h1>"
    yield f"<p>{escape(data_text(found))}</p></header>"
    yield f'<p class="verdict {found.comparison.verdict.replace(" ", "-")}">{escape(found.headline)}</p>'
    names = _TILES if len(model.labels) == 2 else tuple("map" if name == "auc" else name for name in _TILES)
    tiles = [(name, found.figures[name]) for name in names if found.figures[name].value is not None][:_MOST_TILES]
    yield '<div class="tiles">' + "".join(_tile(TITLES[name], figure) for name, figure in tiles) + "</div>"


def _tile(title: str, figure: Figure) -> str:
    interval = f"{_number(figure.low)} to {_number(figure.high)}" if figure.low is not None else "no interval"
    return f'<div class="tile"><span>{escape(title)}</span><b>{_number(figure.value)}</b><span>{interval}</span></div>'


def _baselines(found: Evaluation) -> Iterator[str]:
    yield "<h2>Against simple baselines</h2>"
    if not found.baselines:
        yield f"<p>None: {escape(found.baselines_from)}.</p>"
        return
    yield (
        "<p>Logistic regressions on the features of the same encoder: of one frame, of their mean, and of the mean "
        f"beside the mean absolute change between frames. From {escape(found.baselines_from)}. A recurrent network has "
        "to be better than these to be worth having. Bars are 95 % intervals.</p>"
    )
    yield f'<figure class="narrow">{plots.against_baselines(found)}</figure>'
    differences = [
        f"<tr><th>{escape(TITLES[name])}</th><td>{escape(found.comparison.against[name])}</td>"
        f"{_cell(difference, sign='+')}</tr>"
        for name, difference in found.comparison.differences.items()
    ]
    yield (
        '<div class="scroll"><table><thead><tr><th>figure</th><th>best baseline</th><th>model minus baseline, on the '
        f"same draws</th></tr></thead><tbody>{''.join(differences)}</tbody></table></div>"
    )


def _decisions(found: Evaluation) -> Iterator[str]:
    yield '<div class="pair"><section><h2>What is taken for what</h2>'
    yield "<p>Clips by their true label (rows) and the one decided for (columns); colour is the share of the row.</p>"
    yield _matrix(found) + "</section>"
    yield "<section><h2>Can its probabilities be believed?</h2>"
    yield (
        "<p>Where the model says 80 %, 8 of 10 clips should be right. Red is the gap; below is how many clips there "
        "are.</p>"
    )
    yield f"<figure>{plots.reliability(found.reliability)}</figure></section></div>"


def _matrix(found: Evaluation) -> str:
    labels = [escape(label) for label in found.model.labels]
    rows = []
    for label, counts in zip(labels, found.confusion, strict=True):
        cells = "".join(
            f'<td style="--share:{0.75 * count / max(1, sum(counts)):.3f}">{count}</td>' for count in counts
        )
        rows.append(f"<tr><th>{label}</th>{cells}</tr>")
    head = "".join(f"<th>{label}</th>" for label in labels)
    table = f"<table><thead><tr><th>true</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    scores = "".join(
        f"<tr><th>{escape(each.label)}</th><td>{each.clips}</td>{_cell(each.recall)}{_cell(each.precision)}</tr>"
        for each in found.labels
    )
    return (
        f'<div class="scroll matrix">{table}</div><div class="scroll"><table><thead><tr><th>label</th><th>clips</th>'
        f"<th>recall</th><th>precision</th></tr></thead><tbody>{scores}</tbody></table></div>"
    )


def _stream(found: Evaluation, material: Material) -> Iterator[str]:
    stream = found.stream
    assert stream is not None
    yield f"<h2>As a stream</h2><p>{escape(stream_text(stream))}</p>"
    yield f'<figure class="wide">{plots.timeline(material)}</figure>'
    yield '<div class="pair"><section><h2>What a threshold costs</h2>'
    if stream.quiet_seconds > 0:
        yield (
            "<p>Delay and misses against false alarms as the threshold moves; a threshold that is never left counts as "
            "one long alarm, which finds little. The star is what the bundle's rules give.</p>"
        )
        yield f"<figure>{plots.alarm_curve(stream, found.figures)}</figure></section>"
    else:
        yield f"<p>No false alarms can be counted: {escape(found.figures['false_alarms_per_hour'].why)}.</p></section>"
    names = [name for name in found.figures if name.startswith(("event", "delay", "missed", "false", "quiet"))]
    rows = "".join(f"<tr><th>{escape(TITLES[name])}</th>{_cell(found.figures[name])}</tr>" for name in names)
    yield "<section><h2>Events</h2><p>With the rules of the bundle.</p>"
    yield f'<div class="scroll short"><table>{rows}</table></div></section></div>'


def _figures(found: Evaluation) -> Iterator[str]:
    yield f"<h2>All figures</h2><p>{escape(interval_text(found))}</p>"
    names = list(found.baselines)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("figure", found.model.name, *names))
    rows = []
    for name, figure in found.figures.items():
        others = "".join(
            _cell(found.baselines[baseline][name]) if name in found.baselines[baseline] else "<td></td>"
            for baseline in names
        )
        rows.append(f"<tr><th>{escape(TITLES.get(name, name))}</th>{_cell(figure)}{others}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    yield f'<div class="scroll long">{table}</div>'


def _groups(found: Evaluation) -> Iterator[str]:
    what = "group" if found.data.grouped else "video"
    yield f"<h2>By {what}</h2><p>Clips that are right, worst first.</p>"
    rows = "".join(
        f'<div><span class="name" title="{escape(each.group)}">{escape(each.group)}</span><span class="rail">'
        f'<span class="bar" style="width:{100 * each.right / each.clips:.0f}%"></span></span>'
        f'<span class="count">{each.right}/{each.clips}</span></div>'
        for each in found.groups[:60]
    )
    yield f'<div class="groups">{rows}</div>'
    if len(found.groups) > 60:
        yield f"<p>{len(found.groups) - 60} more are in the output of --json.</p>"


def _mistakes(found: Evaluation, material: Material) -> Iterator[str]:
    yield "<h2>Surest mistakes</h2>"
    if not found.mistakes:
        yield "<p>None: every clip is right.</p>"
        return
    yield "<p>Wrong clips, the surest first. Look whether the model is wrong, or the label.</p>"
    for mistake in found.mistakes:
        yield _mistake(mistake, material)


def _mistake(mistake: Mistake, material: Material) -> str:
    video = next(each.video for each in material.watched if str(each.video.path) == mistake.video)
    picture = strip(video, mistake.start_s, mistake.end_s, material.manifest.input.fps)
    image = f'<img alt="pictures of the clip" src="{picture}">' if picture else ""
    name = escape(f"{video.path.parent.name}/{video.path.name}")
    return (
        f'<div class="mistake"><p><b>{escape(mistake.decided)}</b> with {mistake.probability:.2f}, '
        f"is <b>{escape(mistake.truth)}</b> <span>{name}, {mistake.start_s:g} to {mistake.end_s:g} s</span></p>"
        f"{image}</div>"
    )


def _facts(found: Evaluation) -> Iterator[str]:
    model, data = found.model, found.data
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    facts = {
        "model": f"{model.name} {model.version}, family {model.family}, SHA-256 {model.sha256[:16]}…",
        "sees": f"{model.width}x{model.height} at {model.fps:g} frames/s",
        "clips": f"{model.clip_length_s:g} s long, one each {model.clip_stride_s:g} s, by {model.aggregate}; "
        f"warm after {model.warm_up_s:g} s",
        "back end": model.backend,
        "data": data_text(found),
        "groups": "given" if data.grouped else "not given: each video counts as its own",
        "intervals": interval_text(found),
        "two modes": agreement_text(found.agreement),
        "versions": versions,
        "command": found.command or "called from Python",
    }
    yield "<h2>How this was made</h2><dl>"
    yield "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()) + "</dl>"
    if found.notes or data.skipped:
        lines = [*found.notes, *(f"Skipped: {each.reason}" for each in data.skipped)]
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _cell(figure: Figure, sign: str = "") -> str:
    if figure.value is None:
        return f'<td class="none">{escape(figure.why)}</td>'
    bounds = f" <i>{_number(figure.low, sign)} to {_number(figure.high, sign)}</i>" if figure.low is not None else ""
    why = f" <small>{escape(figure.why)}</small>" if figure.why else ""
    return f"<td>{_number(figure.value, sign)}{bounds}{why}</td>"


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign}.1f}"
