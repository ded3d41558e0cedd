"""Credentials never survive redaction, whatever the password and wherever the URL stands."""

from __future__ import annotations

import io
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redaction import RedactingFilter, Secrets, redact

visible = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=20)
marked = visible.map(lambda text: f"Kanari{text}Vogel")  # long enough that no chance match fails the test
schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP", "rtmp+x"])
prose = st.text(max_size=30)


def _leaks(secret: str, text: str) -> bool:
    return any(piece in text for piece in ("Kanari", "Vogel", secret))


@given(schemes, marked, prose, prose)
def test_raw_password_is_blanked_whatever_it_holds(scheme: str, password: str, before: str, after: str) -> None:
    text = f"{before} {scheme}://admin:{password}@10.0.0.7:554/live {after}"
    shown = redact(text)
    assert not _leaks(password, shown)
    assert "10.0.0.7:554/live" in shown or "@" in after


@given(marked)
def test_percent_encoded_password_is_blanked(password: str) -> None:
    shown = redact(f"cannot open 'rtsp://admin:{quote(password, safe='')}@cam.local/1'")
    assert not _leaks(password, shown)
    assert "cam.local/1" in shown


@given(marked, prose)
def test_redacting_twice_changes_nothing_more(password: str, after: str) -> None:
    once = redact(f"http://u:{password}@host/x {after}")
    assert redact(once) == once


@given(st.text(st.characters(exclude_characters="@%="), max_size=80))
def test_text_without_credentials_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://cam.local:554/live", "rtsp://cam.local:554/live"),
        ("rtsp://u:p@h/x and rtsp://v:q@i/y", "rtsp://***@h/x and rtsp://***@i/y"),
        ("rtsp://only-user@h/x", "rtsp://***@h/x"),
        ("rtsp://:p@h/x", "rtsp://***@h/x"),
        ("rtsp://u:a@b@c:/d@h/x", "rtsp://***@h/x"),
        ("did you mean file:rtsp://u:p@h/x", "did you mean file:rtsp://***@h/x"),
        (r'{"url": "rtsp:\/\/u:p@h\/x"}', r'{"url": "rtsp:\/\/***@h\/x"}'),
        ("http://h/snap?user=a&password=geheim&n=1", "http://h/snap?user=a&password=***&n=1"),
        ("http://proxy/?url=rtsp%3A%2F%2Fu%3Ap%40h", "http://proxy/?url=rtsp%3A%2F%2F***%40h"),
        ("someone@example.org wrote", "someone@example.org wrote"),
        ("", ""),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(st.text(st.characters(exclude_characters="*"), min_size=4, max_size=20), prose, prose)
def test_known_secret_is_blanked_outside_of_urls(secret: str, before: str, after: str) -> None:
    shown = redact(f"{before}{secret}{after}", Secrets((secret,)))
    assert secret not in shown


def test_known_secret_with_spaces_and_its_encoded_form_are_blanked() -> None:
    secrets = Secrets(("zwei Worte", "zwei"))
    assert redact("rtsp://u:zwei Worte@h zwei%20Worte zwei", secrets) == "rtsp://***@h *** ***"


def test_secrets_do_not_show_themselves() -> None:
    assert "geheim" not in repr(Secrets(("geheim",)))


def test_filter_blanks_message_arguments_and_traceback() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RedactingFilter(Secrets(("hunter22",))))
    logger = logging.Logger("camera")
    logger.addHandler(handler)
    try:
        raise OSError("no route to rtsp://u:Kanari@h/x")
    except OSError:
        logger.exception("opening %s with %s failed", "rtsp://u:Kanari@h/x", "hunter22", stack_info=True)
    text = out.getvalue()
    assert "Kanari" not in text
    assert "hunter22" not in text
    assert "opening rtsp://***@h/x with *** failed" in text
    assert "OSError: no route to rtsp://***@h/x" in text
