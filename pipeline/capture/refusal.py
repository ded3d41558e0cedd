"""What to say where a camera refuses whoever asks."""

from __future__ import annotations

from engines.errors import AuthenticationError
from pipeline.rtsp.url import parse_url


def refusal(address: str) -> AuthenticationError:
    """The error for a source that wants other credentials than the address holds."""
    url = parse_url(address)
    if url.credentials is None:
        return AuthenticationError(f"{url.place} asks for a user name and password, and the source names none")
    return AuthenticationError(f"{url.place} refuses the user name or password")
