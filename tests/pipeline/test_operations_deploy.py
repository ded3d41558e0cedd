"""What `deploy/` and the documentation say of vidpipe is so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from operations_messages import full_load
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from typer.main import get_command

from pipeline.cli.commands import app
from pipeline.config.schema import Config
from pipeline.operations.metrics import Gauges, Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Every sample that a busy vidpipe shows."""
    metrics = Metrics()
    for message in full_load(2):
        metrics.observe(message)
    alarms = {"journal": ""}
    metrics.beat(
        Gauges(
            subscribers=1,
            auth_failures=2,
            checkpoint_age_s=0.5,
            journal_backlog=3,
            alarms=alarms,
            connections_ended=4,
        )
    )
    metrics.reloaded(ok=True)
    return {s.name for family in text_string_to_metric_families(metrics.page().decode()) for s in family.samples}


@pytest.mark.parametrize("file", ["prometheus-rules.yaml", "grafana-dashboard.json"])
def test_rules_and_dashboard_ask_for_metrics_that_exist(file, names):
    text = (DEPLOY / file).read_text()
    asked = set(re.findall(r"\bvidpipe_[a-z_]+", text))
    assert len(asked) > 8
    assert asked - names == set()
    (json.loads if file.endswith("json") else yaml.safe_load)(text)


def test_the_documentation_names_every_metric_and_no_other(names):
    text = (DOCS / "operations.md").read_text()
    own = (name for name in names if name.startswith("vidpipe_") and not name.endswith("_created"))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in own}
    told = set(re.findall(r"\bvidpipe_[a-z_]+", text))
    assert told == families


@pytest.mark.parametrize("file", ["vidpipe.service", "notify-reload.conf"])
def test_the_unit_can_be_read_and_its_command_exists(file):
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / file)
    assert unit["Service"]["Type"].startswith("notify")
    if "ExecStart" in unit["Service"]:
        _check_command(unit["Service"]["ExecStart"].split()[1:])


def test_the_container_runs_commands_that_exist_as_a_user_without_rights():
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^USER (\d+)", text, re.MULTILINE)[1] != "0"  # type: ignore[index]
    health = json.loads(re.search(r"HEALTHCHECK[^[]*\\\n\s*CMD (\[.*\])", text)[1])  # type: ignore[index]
    start = json.loads(re.search(r"^CMD (\[.*\])", text, re.MULTILINE)[1])  # type: ignore[index]
    _check_command(health[1:])
    _check_command(start)
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["vidpipe"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Containerfile")


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd is not installed here")
    unit = tmp_path / "vidpipe.service"
    unit.write_text((DEPLOY / "vidpipe.service").read_text().replace("/opt/vidpipe/bin/vidpipe", "/bin/true"))
    done = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("bind", ["127.0.0.1:70000", "9108", "http://127.0.0.1:9108", "a b:1"])
def test_an_address_that_is_none_is_found_by_the_check(bind):
    with pytest.raises(ValidationError, match="bind"):
        Config.model_validate({"cameras": {"a": {"source": 0}}, "metrics": {"bind": bind}})


def _check_command(words: list[str]) -> None:
    """The command and all its options are ours."""
    command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known
