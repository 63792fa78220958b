"""Access control of the dashboard: every request is checked here before it reaches a page.

    Host      a name of this server: a foreign name that leads to this machine is DNS rebinding
    cookie    from the printed link, or from a code that is valid for one minute and one use; a browser is started with the
              code, because others can read its arguments. HttpOnly and SameSite=Strict
    bearer    for scripts: the token itself, as `Authorization: Bearer …`
    POST      Origin is this server, and the header X-Studio-Token is that of the page
    answers   a Content-Security-Policy without inline code, and no framing

The link's token is stored in STUDIO_HOME, readable by its owner only, so that open pages keep working after a restart of
the server. Cookie and page token are derived from it.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import stat
import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.system.files import make_folder

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SHORTEST = 32  # characters of a token
CODE = 60.0  # seconds that a code for a browser is valid
SECURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ASK_FOR_LINK = "studio: this page needs the link with its token that `studio ui` printed; open that one"


class Secrets:
    """The token of the printed link, and the cookie and page token derived from it."""

    def __init__(self, token: str):
        self.token = token
        self.cookie = self._derived("cookie")
        self.page_token = self._derived("action")
        self._codes: dict[str, float] = {}  # code -> monotonic time of its expiry

    def new_code(self) -> str:
        """Return a code that can be exchanged for the cookie once, within a minute."""
        code = secrets.token_urlsafe(SHORTEST)
        self._codes[code] = time.monotonic() + CODE
        return code

    def take_code(self, given: str) -> bool:
        """Return whether `given` is a valid code, and invalidate it."""
        known = [code for code in self._codes if _same(given, code)]
        return bool(known) and time.monotonic() < self._codes.pop(known[0])

    def _derived(self, use: str) -> str:
        return hmac.new(self.token.encode(), use.encode(), hashlib.sha256).hexdigest()


def stored_token(home: Path) -> str:
    """Return the token in `home`; a new one if there is none, or if others could have read it."""
    make_folder(home)
    path = home / "ui-token"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, encoding="ascii") as file:
            found = os.fstat(descriptor)
            token = file.read().strip()
        if stat.S_IMODE(found.st_mode) & 0o077 == 0 and found.st_uid == os.getuid() and len(token) >= SHORTEST:
            return token
    except (OSError, ValueError):
        pass
    token = secrets.token_urlsafe(SHORTEST)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token)
    return token


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """The access checks, around the whole application. `host` is the address that the server listens on."""

    def __init__(self, app: ASGIApp, secrets: Secrets, host: str, port: int):
        self._app = app
        self._secrets = secrets
        self._names: Collection[str] = (
            {*LOOPBACK, host.lower()}
            if is_loopback(host)
            else {*LOOPBACK, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        )
        self._any_address = not is_loopback(host)
        self._cookie = f"studio-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = self._answer(scope)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURE_HEADERS.items():
                    headers.setdefault(name, value)
                files = scope["path"].startswith(("/static/", "/vendor/"))
                headers.setdefault("Cache-Control", "no-cache" if files else "no-store")
            await send(message)

        await (answer or self._app)(scope, receive, send_secured)

    def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a refused request or to the printed link; None if the request may pass."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _refused("this is not a name of the dashboard; open the link that `studio ui` printed")
        if scope["method"] == "GET" and (link := self._link(scope)):
            return link
        if authorization := headers.get("authorization"):
            kind, _, token = authorization.partition(" ")
            if kind.lower() == "bearer" and _same(token.strip(), self._secrets.token):
                return None  # no other site can send this header
            return _refused("the bearer token is wrong; it is in STUDIO_HOME/ui-token", scope["path"])
        if not self._has_cookie(headers):
            return _refused(ASK_FOR_LINK, scope["path"])
        if scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused("asked for by another site", scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            if headers.get("origin") != f"http://{hosts[0]}":
                return _refused("Origin is not this dashboard", scope["path"])
            if not _same(headers.get("x-studio-token", ""), self._secrets.page_token):
                return _refused("the header X-Studio-Token is missing or wrong", scope["path"])
        return None

    def _is_ours(self, host: str) -> bool:
        name = without_port(host.lower())
        if name in self._names:
            return True
        try:  # an IP address cannot be a rebound name
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address

    def _link(self, scope: Scope) -> Response | None:
        """Return the answer to the printed link: the cookie, and a redirect to the same page without the token."""
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [pair for pair in asked if pair[0] in ("token", "code")]
        if not given:
            return None
        name, value = given[0]
        if not (_same(value, self._secrets.token) if name == "token" else self._secrets.take_code(value)):
            return _refused(ASK_FOR_LINK)
        rest = urlencode([pair for pair in asked if pair not in given])
        path = "/" + quote(scope["path"].lstrip("/\\"))  # never //elsewhere
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        answer.set_cookie(self._cookie, self._secrets.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _has_cookie(self, headers: Headers) -> bool:
        # Servers on other ports share the cookies, in any form: http.cookies would drop all because of an invalid one.
        found = [cookie_parser(line).get(self._cookie, "") for line in headers.getlist("cookie")]
        return any(_same(value, self._secrets.cookie) for value in found)


def without_port(host: str) -> str:
    """Return `[::1]:80` and `localhost:80` without their ports."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _refused(text: str, path: str = "") -> Response:
    if path.startswith("/api/"):
        return JSONResponse({"error": {"code": "forbidden", "message": text}}, status_code=403)
    return PlainTextResponse(f"{text}\n", status_code=403)
