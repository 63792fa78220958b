"""The API: every example of docs/api.md runs, its routes are those of the server, and all surfaces say the same."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

import studio
from studio.dashboard.access import Secrets
from studio.dashboard.api import Api
from studio.dashboard.app import api_routes
from studio.dashboard.server import Server
from studio.experiment import Outcome
from tests.dashboard.conftest import Browser, ran

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()


@pytest.fixture
def api(server: Server) -> httpx.Client:
    with httpx.Client(base_url=f"{server.address}/api", headers={"Authorization": f"Bearer {server.token}"}) as client:
        yield client


def test_every_example_of_the_page_runs(server, project, home):
    project()
    names: dict = {}
    for language, text in re.findall(r"```(python|bash)\n(.*?)```", PAGE, re.DOTALL):
        text = text.replace("http://127.0.0.1:8484", server.address)
        if language == "python":
            exec(text, names)  # noqa: S102 - our own page
        elif shutil.which("curl"):
            done = subprocess.run(["bash", "-c", text], capture_output=True, check=True)
            assert [each["project"] for each in json.loads(done.stdout)["projects"]] == ["digits"]
    names["api"].close()


def test_the_page_names_the_routes_and_no_others():
    named = {(method, path) for method, path in re.findall(r"^\| (GET|POST) \| `([^`]+)`", PAGE, re.MULTILINE)}
    routes = {
        (method, re.sub(r":\w+", "", route.path).replace("{project}", "{p}").replace("{number}", "{n}"))
        for route in api_routes(Api(None, None))
        for method in route.methods - {"HEAD"}
    }
    assert named == routes


def test_the_page_names_the_actions(api, project):
    project()
    named = set(re.findall(r"^\| `([a-z-]+)` \| `\{", PAGE, re.MULTILINE))
    assert named == set(api.get("/projects/digits").json()["actions"])


def test_all_surfaces_have_the_same_experiments(api, project, home, command):
    """Completed, failed, pruned, stopped, running without a driver, queued, retried, with an array, not finite, not UTF-8."""
    store = project(count=4)
    values = {"lr": 0.1, "opt": "caf\udce9", "w": [1.0, 2.0], "inf": float("inf")}
    for number, status in ((5, "pruned"), (6, "stopped"), (7, "running"), (8, None)):
        store.ask(number, values, None)
        if status:
            store.attempt_started(number, 1)
        if status in ("pruned", "stopped"):
            how = Outcome(number, 1, None, "SIGTERM", "stopped", 1e9, 1e9 + 2, 2.0, stopped=status == "stopped")
            store.attempt_ended(how, status, 0.3)
    store.attempt_started(3, 2)
    printed = json.loads(command("runs", "list", "digits", "--json").out)
    answered = api.get("/projects/digits/experiments").json()
    assert answered == {"experiments": printed, "next": None}
    assert [each["status"] for each in printed] == [
        "completed", "completed", "running", "completed", "pruned", "stopped", "running", "queued"
    ]  # fmt: skip
    assert printed[4]["values"] == {"lr": 0.1, "opt": "caf\udce9", "w": [1.0, 2.0], "inf": None}
    frame = studio.Project("digits").to_dataframe()
    assert frame["number"].tolist() == [each["number"] for each in printed]
    assert frame["status"].tolist() == [each["status"] for each in printed]
    assert frame["lr"].tolist() == [each["values"]["lr"] for each in printed]
    one = api.get("/projects/digits/experiments/5").json()
    assert {key: one[key] for key in printed[4]} == printed[4]


def test_projects_are_those_of_runs_list(api, project, command):
    store = project()
    project("other", count=0)
    ran(store, 4)
    printed = {each["project"]: each for each in json.loads(command("runs", "list", "--json").out)}
    assert {each["project"]: each for each in api.get("/projects").json()["projects"]} == printed
    one = api.get("/projects/digits").json()
    assert {key: one[key] for key in printed["digits"]} == printed["digits"]
    assert printed["digits"]["best"]["number"] == 4
    assert printed["digits"] == studio.Project("digits").summary()


def test_experiments_are_chosen_sorted_and_paged(api, project):
    project(count=4)
    for query, numbers in [
        ({}, [1, 2, 3, 4]),
        ({"status": "failed"}, [3]),
        ({"sort": "-fitness"}, [4, 2, 1, 3]),
        ({"sort": "lr", "limit": "2"}, [4, 3]),
        ({"sort": "lr", "after": "3"}, [2, 1]),
        ({"sort": "-opt"}, [2, 4, 1, 3]),
        ({"after": "2", "fields": "number"}, [3, 4]),
    ]:
        found = api.get("/projects/digits/experiments", params=query).json()
        assert [each["number"] for each in found["experiments"]] == numbers
        assert found["next"] == (3 if "limit" in query else None)
        if "fields" in query:
            assert found["experiments"][0] == {"number": 3}


def test_errors_have_a_code_and_a_line(api, project):
    project()
    for path, status, code, words in [
        ("/projects/nobody", 404, "not_found", "nobody"),
        ("/projects/digits/experiments/9", 404, "not_found", "has no experiment 9"),
        ("/projects/digits/experiments?status=fine", 400, "bad_input", "'fine'"),
        ("/projects/digits/experiments?sort=nothing", 400, "bad_input", "'nothing'"),
        ("/projects/digits/experiments?limit=many", 400, "bad_input", "'many'"),
        ("/projects/digits/experiments?fields=x", 400, "bad_input", "'x'"),
        ("/projects/digits/experiments?after=77", 400, "bad_input", "77"),
        ("/nothing", 404, "not_found", "Not Found"),
        ("/projects/digits/actions/pause", 405, "method_not_allowed", ""),
    ]:
        answer = api.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert words in answer.json()["error"]["message"]


def test_the_bearer_token_needs_no_origin(api, project, server):
    project()
    answer = api.post("/projects/digits/actions/retry", json={"numbers": [9]}).json()
    assert "no experiment 9" in answer["error"]["message"]
    for header in ("Bearer x", "Basic x", f"Bearer {server.token}x", "Bearer"):
        answer = httpx.get(f"{server.address}/api/projects", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), header


def test_a_csv_by_the_accept_header(api, project):
    project()
    answer = api.get("/projects/digits/experiments", headers={"Accept": "text/csv"})
    assert answer.text == api.get("/projects/digits/experiments.csv").text
    assert answer.text.startswith("number,status,lr,opt,metric")


def test_a_value_that_is_no_utf8_leaves_all_pages_standing(browser: Browser, project):
    store = project()
    store.ask(4, {"lr": 0.1, "opt": "caf\udce9"}, None)
    store.tell(4, 1.0)
    for path in ("/", "/p/digits", "/p/digits/4", "/p/digits/compare?e=1,4", "/api/projects"):
        assert browser.get(path).status_code == 200, path


def test_a_code_opens_the_dashboard_once(server):
    link = server.one_time_link()
    assert server.token not in link
    answer = httpx.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert httpx.get(f"{server.address}/", cookies=answer.cookies).status_code == 200
    assert httpx.get(link).status_code == 403


def test_a_code_is_good_for_a_minute(monkeypatch):
    monkeypatch.setattr("studio.dashboard.access.CODE", -1.0)
    secrets = Secrets("t" * 40)
    assert not secrets.take_code(secrets.new_code())
    assert not secrets.take_code("")
