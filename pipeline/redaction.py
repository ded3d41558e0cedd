"""Blanks credentials in text before a person, a log or a message sees it."""

from __future__ import annotations

import base64
import logging
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

BLANK = "***"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:(?:\\?/){2})(\S*)")
_ENCODED_USERINFO = re.compile(r"(%3A%2F%2F)\S*(%40)", re.IGNORECASE)  # a URL inside another one's query
_QUERY_SECRET = re.compile(r"((?:pass|passwd|password|pwd|secret|token)=)[^&\s]+", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization:\s*(?:basic|bearer)\s+)\S+", re.IGNORECASE)
_SHORTEST = 4  # a shorter secret is part of too many words; inside a URL it is blanked all the same


@dataclass(frozen=True)
class Secrets:
    """Known secret strings, blanked wherever they occur, also percent-encoded or decoded. Never shows them itself.

    Values under four characters are left out, since blanking them would blank half of every text.
    """

    values: tuple[str, ...] = field(default=(), repr=False)

    def also(self, others: Secrets) -> Secrets:
        """These and others."""
        return Secrets(tuple(dict.fromkeys((*self.values, *others.values))))

    def blank(self, text: str) -> str:
        """The text without any of the secrets."""
        for form in self._forms():
            text = text.replace(form, BLANK)
        return text

    def _forms(self) -> list[str]:
        """Longest first, so that a secret inside another leaves no rest of the longer one."""
        forms = {form for value in self.values for form in _spellings(value) if len(form) >= _SHORTEST}
        return sorted(forms, key=len, reverse=True)


NO_SECRETS = Secrets()


def credentials_of(url: str) -> Secrets:
    """What must never be shown of a URL: its password, and user and password as HTTP's Basic scheme spells them."""
    userinfo = url.partition("://")[2].rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    if not password:
        return NO_SECRETS
    basic = f"{unquote(user)}:{unquote(password)}".encode(errors="surrogatepass")
    return Secrets((password, base64.b64encode(basic).decode()))


def redact(text: str, secrets: Secrets = NO_SECRETS) -> str:
    """Blank the user name and password of every URL in a text, password parameters of its query, and known secrets.

    So are the credentials of an HTTP or RTSP header `Authorization: Basic`.

    A raw password may hold `@`, `:` or `/`, so everything between `://` and the last `@` before a space goes: the rule
    would rather take too much than leave a part. A password with a raw space in it needs `secrets`.
    """
    text = _URL.sub(_without_credentials, secrets.blank(text))
    text = _AUTHORIZATION.sub(rf"\g<1>{BLANK}", text)
    return _ENCODED_USERINFO.sub(rf"\g<1>{BLANK}\g<2>", text)


class RedactingFilter(logging.Filter):
    """Blanks credentials in a record's message, arguments, reason and traceback; add it to handlers, which see all."""

    def __init__(self, secrets: Secrets = NO_SECRETS) -> None:
        super().__init__()
        self._secrets = secrets
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        record.msg, record.args = redact(record.getMessage(), self._secrets), None
        if reason := getattr(record, "reason", None):
            record.reason = redact(str(reason), self._secrets)
        if record.exc_info:
            record.exc_text = record.exc_text or self._formatter.formatException(record.exc_info)
            record.exc_info = None  # a handler that formats tracebacks itself would show the exception's own text
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        if record.stack_info:
            record.stack_info = redact(record.stack_info, self._secrets)
        return True


def _without_credentials(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    userinfo, at, place = rest.rpartition("@")
    shown = f"{BLANK}@{place}" if at and userinfo else rest
    return scheme + _QUERY_SECRET.sub(rf"\g<1>{BLANK}", shown)


def _spellings(value: str) -> set[str]:
    encoded = {quote(value, safe=safe, errors="surrogatepass") for safe in ("", "/")}
    return {value, unquote(value), *encoded}
