"""Authentication against the examples of the RFCs, and both sides against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rtsp import auth
from pipeline.rtsp.auth import Challenge, Credentials, Guard, authorization, parse_challenges, strongest

URI = "rtsp://10.0.0.7/live/track1"
text = st.text(st.characters(exclude_categories=["C"], exclude_characters=":"), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_examples_of_rfc_7616(monkeypatch: pytest.MonkeyPatch, algorithm: str, response: str) -> None:
    # section 3.9.1
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr(auth.secrets, "token_hex", lambda _: cnonce)
    (challenge,) = parse_challenges(
        [
            'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=' + algorithm + ", "
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
        ]
    )
    header = authorization(challenge, Credentials("Mufasa", "Circle of Life"), "GET", "/dir/index.html")
    assert f'response="{response}"' in header
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in header
    assert "nc=00000001" in header


def test_example_of_rfc_2617(monkeypatch: pytest.MonkeyPatch) -> None:
    # section 3.5
    monkeypatch.setattr(auth.secrets, "token_hex", lambda _: "0a4f113b")
    challenge = Challenge("digest", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", qop="auth")
    header = authorization(challenge, Credentials("Mufasa", "Circle Of Life"), "GET", "/dir/index.html")
    assert 'response="6629fae49393a05397450978507c4ef1"' in header
    basic = authorization(Challenge("basic", "x"), Credentials("Aladdin", "open sesame"), "GET", "/")
    assert basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@given(text, text, st.sampled_from([("basic", "MD5"), ("digest", "MD5"), ("digest", "SHA-256")]))
def test_guard_admits_its_own_credentials_and_no_others(user: str, password: str, kind: tuple[str, str]) -> None:
    guard = Guard(Credentials(user, password), *kind)
    (challenge,) = parse_challenges([guard.challenge("n0nce").header()])
    right = authorization(challenge, Credentials(user, password), "DESCRIBE", URI)
    wrong = authorization(challenge, Credentials(user, password + "x"), "DESCRIBE", URI)
    assert guard.admits(right, "DESCRIBE", URI, "n0nce")
    assert not guard.admits(wrong, "DESCRIBE", URI, "n0nce")
    if kind[0] == "digest":
        assert not guard.admits(right, "DESCRIBE", URI, "other")
        assert not guard.admits(right, "SETUP", URI, "n0nce")


@given(st.text(max_size=200))
def test_guard_survives_any_header(header: str) -> None:
    for kind in ("basic", "digest"):
        assert not Guard(Credentials("u", "p"), kind).admits(f"{kind} {header}", "DESCRIBE", URI, "n")


def test_session_variant_hashes_the_nonces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth.secrets, "token_hex", lambda _: "c")
    (challenge,) = parse_challenges(['Digest realm="r", nonce="n", algorithm=md5-sess, qop="auth"'])
    assert challenge.algorithm == "MD5-sess"
    header = authorization(challenge, Credentials("u", "p"), "GET", "/")
    first = auth.hashlib.md5(b"u:r:p").hexdigest()
    first = auth.hashlib.md5(f"{first}:n:c".encode()).hexdigest()
    second = auth.hashlib.md5(b"GET:/").hexdigest()
    expected = auth.hashlib.md5(f"{first}:n:00000001:c:auth:{second}".encode()).hexdigest()
    assert f'response="{expected}"' in header


def test_challenges_of_one_header_are_told_apart_and_the_strongest_is_taken() -> None:
    found = parse_challenges(
        [
            'Basic realm="Digest house", Digest realm="a", nonce="1", stale=TRUE',
            'Digest realm="b", nonce="2", algorithm=SHA-256',
        ]
    )
    assert [(one.scheme, one.realm, one.stale) for one in found] == [
        ("basic", "Digest house", False),
        ("digest", "a", True),
        ("digest", "b", False),
    ]
    assert strongest(found) == found[2]
    assert strongest(parse_challenges(["Negotiate", 'Digest realm="x", nonce="1", algorithm=SHA-512-256'])) is None


def test_password_does_not_show() -> None:
    assert "geheim" not in repr(Guard(Credentials("u", "geheim")))
