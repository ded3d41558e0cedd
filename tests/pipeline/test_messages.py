"""The wire format: stored messages of every schema version stay readable, and the shipped schema files are current."""

import json
from pathlib import Path

import msgspec
import pytest

from pipeline import schemas
from pipeline.stream.messages import TYPES, Counts, StateInfo, decode

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_messages_of_version_1_are_read_as_they_were_meant(kind):
    as_json = decode((GOLDEN / f"{kind}-1.json").read_bytes().strip())
    assert as_json == decode((GOLDEN / f"{kind}-1.msgpack").read_bytes())
    assert type(as_json) is TYPES[kind]
    assert (as_json.camera, as_json.epoch, as_json.seq, as_json.media_time) == ("camera0", 1763760000000, 7, 11.8)
    assert as_json.captured_at == 1763760012345678901
    assert as_json.latency["total"] == 3030


def test_the_fields_that_matter_most_keep_their_names():
    clip = json.loads((GOLDEN / "clip-1.json").read_text())
    assert clip["scores"]["loitering"] == 0.94
    assert decode((GOLDEN / "clip-1.msgpack").read_bytes()).state == StateInfo(60, 11.8, True, "start")
    assert decode((GOLDEN / "status-1.msgpack").read_bytes()).counts == Counts(180, 60, 59, in_flight=1, connections=1)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_shipped_schema_is_what_the_code_defines(name):
    assert schemas.read_schema(name) == schemas.make_schema(name), "run: python tools/write_schemas.py"


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_the_schema_names_every_field_of_a_message(kind):
    schema = json.loads(schemas.read_schema(kind))
    fields = schema["$defs"][TYPES[kind].__name__]["properties"]
    stored = set(msgspec.json.decode((GOLDEN / f"{kind}-1.json").read_bytes()))
    assert stored <= set(fields)
    later = {"inputs", "frozen", "interruptions", "resets", "reconnects", "frame_age_s", "alarms", "replay"}
    later |= {"retry_in_s"}
    assert set(fields) - stored <= later, "fields that came later"
    assert not set(schema["$defs"][TYPES[kind].__name__]["required"]) & {"inputs"}, "they have defaults"
