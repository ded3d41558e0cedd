"""Coverage-guided fuzzing of the parsers that read what others send: finds what random damage does not.

    pip install atheris
    python tools/fuzz_atheris.py rtsp corpus/rtsp -- -runs=1000000 -max_len=4096

What stands after `--` is for libFuzzer. Coverage is seen in Python only: of msgspec's decoders it sees what is made of
their answer. Only errors of vidpipe's own tree may come out of a parser: anything else ends
the run with the input that did it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

Target = Callable[[bytes], None]


def _message() -> Target:
    from engines.errors import StreamError
    from pipeline.stream.messages import decode

    def target(data: bytes) -> None:
        with contextlib.suppress(StreamError):
            decode(data)

    return target


def _replay() -> Target:
    from engines.errors import StreamError
    from pipeline.stream.replay_protocol import decode_answer, decode_request

    def target(data: bytes) -> None:
        for decode in (decode_request, decode_answer):
            with contextlib.suppress(StreamError):
                decode(data)

    return target


def _rtsp() -> Target:
    from engines.errors import ProtocolError
    from pipeline.rtsp.auth import Credentials, authorization, parse_challenges, strongest
    from pipeline.rtsp.message import Interleaved, MessageParser
    from pipeline.rtsp.sdp import parse_sdp

    user = Credentials("user", "password")

    def target(data: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            for message in MessageParser().feed(data):
                if isinstance(message, Interleaved):
                    continue
                parse_sdp(message.body.decode("utf-8", "replace"))
                challenge = strongest(parse_challenges(message.headers.all("WWW-Authenticate")))
                if challenge is not None:
                    authorization(challenge, user, "DESCRIBE", "rtsp://host/path")

    return target


def _sps() -> Target:
    from engines.errors import ProtocolError
    from pipeline.rtsp.sps import parse_sps

    def target(data: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            parse_sps(data)

    return target


def _keys() -> Target:
    from engines.errors import KeysError
    from pipeline.keys.certificate import read_text

    def target(data: bytes) -> None:
        with contextlib.suppress(KeysError):
            read_text(data.decode("utf-8", "replace"), "it")

    return target


def _manifest() -> Target:
    from engines.errors import ModelError
    from engines.manifest import parse_manifest

    def target(data: bytes) -> None:
        with contextlib.suppress(ModelError):
            parse_manifest(data.decode("utf-8", "replace"), "it")

    return target


TARGETS = {
    "message": _message,
    "replay": _replay,
    "rtsp": _rtsp,
    "sps": _sps,
    "keys": _keys,
    "manifest": _manifest,
}
_ANSWER = b"""RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="x", nonce="y", qop="auth"\r\n\r\n$\0\0\1a"""
_SDP = (
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z0LAHtkA\r\na=framerate:25\r\n"
)
_SPS = ("6764001facd9405005bb011000000300100000030320f162d96000", "6742c01ed9005005bb0110000003001000000303c0f162e480")
_KEY = b'metadata\n    name = "x"\ncurve\n    public-key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"\n'
_SEEDS: dict[str, list[bytes]] = {
    "message": [path.read_bytes() for path in sorted((ROOT / "tests/pipeline/golden").glob("*"))],
    "replay": [b'{"request":"last","id":1}', b'{"request":"range","id":1,"camera":"a","kind":"clip","after":[1,2]}'],
    "rtsp": [_ANSWER, b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_SDP) + _SDP],
    "sps": [bytes.fromhex(each) for each in _SPS],
    "keys": [_KEY],
    "manifest": [path.read_bytes() for path in sorted((ROOT / "engines/bundles").glob("*/manifest.yaml"))],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage-guided fuzzing of a parser.")
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("corpus", type=Path, help="folder of inputs; good ones are put there, and those that are found")
    parser.add_argument("libfuzzer", nargs="*", help="options of libFuzzer, after --")
    arguments = parser.parse_args()
    try:
        atheris = importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("fuzz_atheris needs the package atheris, which is not installed: pip install atheris")
    with atheris.instrument_imports(include=["pipeline", "engines", "yaml"]):
        target = TARGETS[arguments.target]()
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_SEEDS[arguments.target]):
        (arguments.corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *arguments.libfuzzer, str(arguments.corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
