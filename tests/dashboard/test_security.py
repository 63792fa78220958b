"""Attacks on the dashboard, each of those that its Safety section names, over real HTTP."""

import os
import socket
import stat

import httpx
import pytest

from studio.dashboard.access import SECURE_HEADERS, stored_token
from studio.dashboard.server import Server
from tests.dashboard.conftest import Browser

PAGES = [
    "/",
    "/p/digits",
    "/p/digits/1",
    "/api/projects",
    "/api/projects/digits/experiments?layout=columns",
    "/static/studio.css",
    "/api/projects/digits/experiments/1/files/x",
]
HOSTILE = '<img src=x onerror="alert(1)">'


# --- the link, the cookie -----------------------------------------------------------------------------------------------


def test_without_the_link_nothing_is_shown(server, project):
    project()
    for path in PAGES:
        answer = httpx.get(f"{server.address}{path}")
        assert answer.status_code == 403
        assert "studio ui" in answer.text
        assert "digits" not in answer.text


def test_the_link_sets_a_cookie_that_no_script_and_no_other_site_has(server):
    answer = httpx.get(server.link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert server.token.lower() not in cookie  # who steals one of them has not the other


def test_a_wrong_token_gets_no_cookie(server):
    for token in ["", "x", "é", "a" * 43]:
        answer = httpx.get(f"{server.address}/", params={"token": token})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_wrong_cookie(server):
    name = httpx.get(server.link).headers["set-cookie"].split("=")[0]
    for value in ("", "x", server.token, "0" * 64):
        assert httpx.get(f"{server.address}/", headers={"Cookie": f"{name}={value}"}).status_code == 403


def test_a_cookie_of_another_port_does_not_hide_ours(server):
    own = httpx.get(server.link).headers["set-cookie"].split(";")[0]
    for other in ('prefs={"a": 1}', "a b=c", "=x", 'q="', "é=ü", "$Version=1"):
        for line in (f"{other}; {own}", f"{own}; {other}"):
            assert httpx.get(f"{server.address}/", headers={"Cookie": line.encode()}).status_code == 200, line


def test_the_link_leads_to_no_other_site(server):
    answer = httpx.get(f"{server.address}//evil.example/", params={"token": server.token})
    assert answer.headers["location"] == "/evil.example/"
    answer = httpx.get(f"{server.address}/p/digits?sort=lr&token={server.token}")
    assert answer.headers["location"] == "/p/digits?sort=lr"


def test_the_token_is_for_its_owner_alone_and_stays(home):
    token = stored_token(home)
    assert stored_token(home) == token
    assert stat.S_IMODE((home / "ui-token").stat().st_mode) == 0o600
    os.chmod(home / "ui-token", 0o644)  # others may have read it
    assert stored_token(home) != token
    (home / "ui-token").unlink()
    (home / "elsewhere").write_text("a" * 50)
    (home / "ui-token").symlink_to(home / "elsewhere")
    assert stored_token(home) != "a" * 50


# --- the Host: DNS rebinding --------------------------------------------------------------------------------------------


def test_foreign_names_for_this_machine_are_refused(browser, server):
    for host in [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "localhost@evil.example",
        "[::2]",
    ]:
        assert browser.get("/", headers={"Host": host.format(port=server.port)}).status_code == 403


def test_its_own_names_are_served(browser, server):
    for host in ["localhost:{port}", "127.0.0.1:{port}", "localhost:9000", "LOCALHOST", "[::1]:{port}"]:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        answer = httpx.get(f"{server.address}/", headers={"Host": host.format(port=server.port), "Cookie": cookie})
        assert answer.status_code == 200


def test_two_hosts_in_one_request(server):
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert raw.recv(1000).split()[1] in (b"400", b"403")


def test_beyond_loopback_it_warns_and_still_needs_the_link(home):
    said = []
    with Server("0.0.0.0", 0, said.append) as server:
        assert "anyone who can reach this machine" in said[0]
        assert server.link.startswith("http://127.0.0.1:")
        assert httpx.get(f"{server.address}/").status_code == 403
        client = httpx.Client(base_url=server.address)
        client.get(f"/?token={server.token}")
        assert client.get("/").status_code == 200
        assert (
            client.get("/", headers={"Host": "evil.example"}).status_code == 403
        )  # a name may be rebound, an address not
        assert client.get("/", headers={"Host": f"192.0.2.7:{server.port}"}).status_code == 200
        assert client.get("/", headers={"Host": socket.gethostname()}).status_code == 200
        client.close()


# --- actions: forged requests -------------------------------------------------------------------------------------------


def test_a_foreign_origin_cannot_act(browser, server, project, home):
    project()
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "https://127.0.0.1:{port}",
        "",
    ]:
        answer = browser.act("digits", "retry", Origin=origin.format(port=server.port))
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, "Origin is not this dashboard")
        assert not (home / "projects" / "digits" / "requests").exists()


def test_without_an_origin_nothing_is_done(browser, project):
    project()
    assert (
        browser.post(
            "/api/projects/digits/actions/retry", json={}, headers={"X-Studio-Token": browser.token}
        ).status_code
        == 403
    )


def test_without_the_pages_token_nothing_is_done(browser, project):
    project()
    for token in ["", "x", "0" * 64]:
        answer = browser.act("digits", "retry", **{"X-Studio-Token": token})
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            403,
            "the header X-Studio-Token is missing or wrong",
        )


def test_the_links_token_is_not_the_pages(browser, server, project):
    project()
    assert browser.act("digits", "retry", **{"X-Studio-Token": server.token}).status_code == 403


def test_without_the_cookie_nothing_is_done(browser, server, project):
    project()
    headers = {"Origin": server.address, "X-Studio-Token": browser.token}
    assert (
        httpx.post(f"{server.address}/api/projects/digits/actions/retry", json={}, headers=headers).status_code == 403
    )


def test_other_methods_do_nothing(browser, project):
    project()
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"]:
        assert browser.request(method, "/api/projects/digits/experiments?layout=columns").status_code in (403, 405)
        assert browser.request(method, "/api/projects/digits/actions/stop").status_code in (403, 405)
        assert browser.get("/api/projects/digits/actions/stop").status_code == 405


def test_other_sites_read_no_data(browser, project):
    """`same-site` is another port of localhost, whose pages the cookie would be sent for."""
    project()
    for site in ["cross-site", "same-site"]:
        assert (
            browser.get("/api/projects/digits/experiments?layout=columns", headers={"Sec-Fetch-Site": site}).status_code
            == 403
        )
        assert browser.post("/p/digits/tensorboard", headers={"Sec-Fetch-Site": site}).status_code == 403
        assert (
            browser.get(
                "/api/projects/digits/experiments?layout=columns", headers={"Sec-Fetch-Site": "same-origin"}
            ).status_code
            == 200
        )
        assert "access-control-allow-origin" not in browser.get("/", headers={"Origin": "http://evil.example"}).headers


# --- what comes from runs -----------------------------------------------------------------------------------------------


def test_every_answer_forbids_inline_code_and_frames(browser, project):
    project()
    for path in [
        "/",
        "/p/digits",
        "/p/digits/1",
        "/p/digits/compare?e=1,2",
        "/p/nix",
        "/api/projects",
        "/static/studio.css",
    ]:
        answer = browser.get(path)
        for name, value in SECURE_HEADERS.items():
            assert answer.headers[name] == value
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy


def test_pages_have_no_inline_code_or_style(browser, project):
    project()
    for path in ["/", "/p/digits", "/p/digits/1", "/p/digits/compare?e=1,2", "/p/nix"]:
        text = browser.get(path).text
        assert "style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        scripts = [part.split(">")[0] for part in text.split("<script")[1:]]
        assert all('/static/main.js"' in script or 'type="application/json"' in script for script in scripts)


@pytest.mark.parametrize("linked", ["1", "1/1"])
def test_a_run_that_puts_a_link_in_place_of_its_folder_shows_nothing(browser, project, home, linked):
    project(count=1)
    outside = home / "outside"
    (outside / "1").mkdir(parents=True)
    for folder in (outside, outside / "1"):
        (folder / "output.log").write_text("the treasure")
    place = home / "projects" / "digits" / linked
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    assert browser.json("/api/projects/digits/experiments/1")["files"] == []
    assert browser.get("/api/projects/digits/experiments/1/files/output.log").status_code == 404
    for path in (
        "/p/digits/1",
        "/api/projects/digits/experiments/1",
        "/api/projects/digits/experiments/1/log?tail=99",
        "/api/projects/digits/experiments/1/log?search=the",
    ):
        assert "treasure" not in browser.get(path).text


@pytest.mark.parametrize("linked", ["1", "1/1"])
def test_curves_of_a_run_that_is_elsewhere_are_not_read(browser, project, home, linked):
    """A script may have put a link in the place of its folder."""
    store = project(count=1, metric=None)
    outside = home / "outside"
    folder = outside if linked == "1/1" else outside / "1"
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("fitness: 4711\nfitness: 4712\n")
    place = store.folder / linked
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    assert browser.json("/api/projects/digits/curves?experiments=1")["curves"]["1"] == {"step": [], "value": []}
    assert browser.json("/api/projects/digits/curve-quartiles")["count"] == 0
    place.unlink()
    outside.rename(place)  # and in its own place they are
    with Browser(browser.server) as again:
        assert again.json("/api/projects/digits/curves?experiments=1")["curves"]["1"]["value"] == [4711.0, 4712.0]


def test_a_get_starts_no_tensorboard(browser, project, monkeypatch):
    project()
    monkeypatch.setattr("studio.dashboard.tensorboard.TensorBoards.port", lambda *given: pytest.fail("it was started"))
    assert browser.get("/p/digits/tensorboard").status_code == 405


def test_files_with_any_name_and_their_length(browser, project, home):
    project(count=1)
    folder = home / "projects" / "digits" / "1" / "1"
    folder.mkdir(parents=True)
    (folder / "two\nlines").write_bytes(b"x" * 5000)
    (file,) = browser.json("/api/projects/digits/experiments/1")["files"]
    answer = browser.get(file["url"])
    assert (answer.content, answer.headers["content-length"]) == (b"x" * 5000, "5000")


def test_tensorboard_is_opened_under_another_name_which_gets_no_cookie(browser, server, project, monkeypatch):
    project()
    monkeypatch.setattr(server._dashboard.tensorboards, "port", lambda name: 6006)
    for host, address in (("127.0.0.1", "http://localhost:6006/"), ("localhost", "http://127.0.0.1:6006/")):
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        page = {"Origin": f"http://{host}", "X-Studio-Token": browser.token}
        answer = httpx.post(f"{server.address}/p/digits/tensorboard", headers={"Host": host, "Cookie": cookie, **page})
        assert (answer.status_code, answer.json()) == (200, {"address": address})
        assert browser.get("/p/digits/tensorboard").status_code == 405  # a GET starts nothing


@pytest.mark.parametrize("host", ["127.0.0.2", "0.0.0.0"])
def test_the_address_that_it_listens_on_is_its_own(project, host):
    project()
    with Server(host, 0) as server, httpx.Client(base_url=server.address, follow_redirects=True) as client:
        assert client.get(f"/?token={server.token}").status_code == 200
        assert 'id="tensorboard"' in client.get("/p/digits").text
        name = {"127.0.0.2": "localhost"}.get(host, socket.getfqdn())
        assert client.get("/p/digits", headers={"Host": name}).status_code == 200
        if host == "0.0.0.0":
            elsewhere = {"Host": "192.0.2.7"}
            assert 'id="tensorboard"' not in client.get("/p/digits", headers=elsewhere).text
            token = {"Authorization": f"Bearer {server.token}"}
            assert client.post("/p/digits/tensorboard", headers={**elsewhere, **token}).status_code == 400


def test_texts_of_runs_are_shown_as_texts(browser, project, home):
    store = project(script=HOSTILE, ranges={"lr": HOSTILE, "opt": f"{HOSTILE},sgd"})
    with store.transaction():
        store.ask(4, {"lr": HOSTILE, "opt": "</script><script>alert(2)</script>"}, None)
        store.attempt_started(4, 1)
    folder = home / "projects" / "digits" / "4" / "1"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "output.log").write_text(f"{HOSTILE}\x1b]0;title\x07\x1b[31m</pre><script>")
    (folder / "artifacts" / "<script>alert(3)<").write_text("")
    for path in (
        "/",
        "/p/digits",
        "/p/digits/4",
        "/p/digits/compare?e=1,4",
        f"/?q={HOSTILE}",
        f"/p/digits?sort={HOSTILE}",
        "/p/<script>",
    ):
        text = browser.get(path).text
        assert "<img src=x" not in text
        assert "<script>" not in text
        assert "\x1b" not in text
    assert "&lt;img src=x" in browser.get("/p/digits/4").text


def test_no_path_leads_out_of_a_run(browser, project, home):
    project()
    folder = home / "projects" / "digits" / "1" / "1"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "model.bin").write_bytes(b"weights")
    (home / "secret").write_text("the treasure")
    (folder / "artifacts" / "link").symlink_to(home / "secret")
    (folder / "away").symlink_to(home)
    os.mkfifo(folder / "fifo")
    good = browser.get("/api/projects/digits/experiments/1/files/artifacts/model.bin")
    assert good.content == b"weights"
    assert good.headers["content-disposition"].startswith("attachment")
    assert good.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in good.headers["content-security-policy"]
    paths = [
        "../../../../secret", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret", "..%2f..%2f..%2f..%2fsecret", "artifacts/link", "away/secret",
        "/etc/passwd", "%2fetc%2fpasswd", "fifo", "artifacts", "", ".", "%00", "artifacts/../../1/artifacts/model.bin",
    ]  # fmt: skip
    for path in paths:
        answer = raw_get(browser, f"/api/projects/digits/experiments/1/files/{path}")
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400", b"HTTP/1.1 307")), path
        assert b"treasure" not in answer


def test_no_path_leads_out_of_the_static_files(browser):
    for path in [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/vendor/../app.py",
        "/static//etc/passwd",
    ]:
        assert not raw_get(browser, path).startswith(b"HTTP/1.1 200")


def test_names_that_are_no_project(browser):
    for name in ["..", "%2e%2e", ".hidden", "a%2fb", "-x", "x" * 300, "%C3%A9"]:
        assert raw_get(browser, f"/p/{name}").split()[1] == b"404"
        assert raw_get(browser, f"/api/projects/{name}").split()[1] == b"404"


def raw_get(browser, path):
    """What the server answers to a path that no client would send as it is."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with socket.create_connection((browser.base_url.host, browser.base_url.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
        found = b""
        while data := raw.recv(65536):
            found += data
    return found


def test_bodies_that_are_no_request(browser, project):
    project()
    for body in [b"{", b"[]", b"3", b'{"numbers": "all"}', b'{"numbers": [true]}', b"[" * 30_000, b"x" * 70_000]:
        headers = {"Origin": str(browser.base_url).rstrip("/"), "X-Studio-Token": browser.token}
        answer = browser.post("/api/projects/digits/actions/retry", content=body, headers=headers)
        assert answer.status_code in (400, 413)
        assert answer.json()["error"]
