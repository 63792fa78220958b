"""What the dashboard says of a project: as JSON, and in the pages as the server writes them."""

import csv
import io
import json
import platform
import re
import shlex
import shutil
import time

import pytest

import studio
from studio.dashboard.actions import ACTIONS
from studio.dashboard.experiment_details import experiment_command
from studio.dashboard.experiment_table import ExperimentTable
from studio.dashboard.first_rows import first_rows
from studio.dashboard.summary import counted
from studio.experiment import Outcome
from studio.host import create_host
from studio.project.store import Store
from studio.project.summary import summarize
from studio.search.search_space import read_space
from tests.dashboard.conftest import Browser, ran, wait_for

# --- the table ----------------------------------------------------------------------------------------------------------


def test_experiments_as_columns(browser, project):
    project(count=3)
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    assert data["complete"]
    assert data["number"] == [1, 2, 3]
    assert data["status"] == ["completed", "completed", "failed"]
    assert data["metric"] == {"val_loss": [1.0, 0.5, None]}
    assert data["values"] == {"lr": [0.1, 0.05, 0.033333333], "opt": ["adam", "sgd", "adam"]}
    assert data["fitness"] == [-1.0, -0.5, None]
    assert (data["direction"], data["duration"], data["exit_code"]) == ("min", [9.0, 9.0, 9.0], [0, 0, 1])
    assert data["reason"][2] == "exit code 1: RuntimeError: out of luck"
    assert data["slot"] == [0, 0, 0]  # one after the other


def test_an_experiment_keeps_its_slot_when_its_end_says_that_it_began_later(browser, project):
    store = project(count=0, num_workers=2)
    for number in (1, 2):
        store.ask(number, {"lr": 0.01, "opt": "adam"}, [0.5, 0.5])
        store.attempt_started(number, 1)
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    assert data["slot"] == [0, 1]
    begun = data["started"][0]
    store.attempt_ended(Outcome(1, 1, 0, None, "", begun, begun + 1, 1.0), "completed", 0.5)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["slot"] == [0, 1]
    store.attempt_ended(Outcome(2, 1, 0, None, "", begun + 2, begun + 3, 1.0), "completed", 0.5)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["slot"] == [0, 1]


def test_what_machines_of_a_cloud_cost_is_in_rows_and_in_the_summary(browser, project, home, command):
    store = project(backend="ec2")
    assert browser.json("/api/projects/digits")["cost"] is None
    for attempt, cost in ((1, 0.5), (2, 0.25)):
        store.attempt_ended(Outcome(1, attempt, 0, None, "", 1e9, 1e9, 1.0, cost=cost), "completed", 0.1)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["cost"] == [0.75, None, None]
    found = json.loads(command("runs", "list", "digits", "--json").out)
    assert [experiment.get("cost") for experiment in found] == [0.75, None, None]
    (store.folder / "cost.json").write_text('{"dollars": 2.5}')  # machines that start or wait cost, too
    assert browser.json("/api/projects/digits")["cost"] == 2.5


def test_columns_say_how_to_show_them(browser, project):
    ranges = {"lr": "1e-5:0.1:l", "n": "1:8:i", "w": "0:1:3:a", "opt": "adam,sgd", "fixed": "2:2"}
    store = project(count=0, ranges=ranges)
    store.ask(1, {"lr": 0.01, "n": 3, "w": [3.0, 4.0, 0.0], "opt": "sgd", "fixed": 2}, None)
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    columns = {column["key"]: column for column in data["columns"]}
    assert columns["metric.val_loss"]["kind"] == "metric"
    assert (columns["lr"]["log"], columns["lr"]["min"], columns["lr"]["max"]) == (True, 1e-5, 0.1)
    assert columns["n"]["integer"]
    assert columns["w"]["array"] == 3
    assert columns["opt"]["choices"] == ["adam", "sgd"]
    assert data["values"]["w"] == [5.0]  # its Euclidean norm
    assert data["status"] == ["queued"]


def test_lists_of_numbers_have_an_axis(browser, project):
    ranges = {"unreadable": "1,auto", "lr": "1e-5:l5:0.1", "n": "2,3,4", "mixed": "1,'auto'"}
    project(count=0, ranges=ranges, optimizer="grid")
    columns = {
        column["key"]: column for column in browser.json("/api/projects/digits/experiments?layout=columns")["columns"]
    }
    assert (columns["lr"]["log"], columns["lr"]["choices"]) == (True, None)
    assert (columns["n"]["log"], columns["n"]["integer"], columns["n"]["max"]) == (False, True, 4)
    assert columns["mixed"]["choices"] == [1, "auto"]


def test_a_plugin_that_is_gone_hides_no_experiment(browser, project):
    project(optimizer="nobody", metric="nowhere:x:y:min")
    assert browser.json("/api/projects/digits/experiments?layout=columns")["values"]["opt"] == ["adam", "sgd", "adam"]
    assert browser.get("/p/digits").status_code == 200
    assert browser.get("/p/digits/1").status_code == 200


def test_only_what_changed(browser, project):
    store = project(count=3)
    before = browser.json("/api/projects/digits/experiments?layout=columns")
    assert (
        browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={before['version']}")["number"]
        == []
    )
    ran(store, 4)
    store.attempt_started(3, 2)
    data = browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={before['version']}")
    assert not data["complete"]
    assert data["number"] == [3, 4]
    assert (data["status"], data["attempts"]) == (["running", "completed"], [2, 1])
    store.attempt_metric(3, 2, 0.25)  # a running one's value, which leaves no new line in the record
    data = browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={data['version']}")
    assert (data["number"], data["metric"]) == ([3], {"val_loss": [0.25]})


def test_versions_of_another_server_mean_all(browser, project):
    project(count=3)
    for version in ["", "x", "x.1", "0", "00000000.9", "-1.-1"]:
        assert browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={version}")["complete"]


def test_a_project_made_anew_under_its_name(browser, project, home):
    store = project(count=3)
    version = browser.json("/api/projects/digits/experiments?layout=columns")["version"]
    store.close()
    (home / "projects" / "digits").rename(home / "projects" / "old")
    assert browser.get("/api/projects/digits/experiments?layout=columns").status_code == 404
    project(count=1)
    data = browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={version}")
    assert (data["complete"], data["number"]) == (True, [1])


def test_without_a_driver_nothing_runs(browser, project):
    store = project(count=1)
    store.ask(2, {"lr": 0.01, "opt": "adam"}, None)
    store.attempt_started(2, 1)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["status"] == ["completed", "running"]
    store.close()
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    assert (data["status"][1], data["reason"][1]) == ("stopped", "interrupted")


def test_slots_are_what_ran_at_a_time(browser, project):
    store = project(count=0)
    for number, slot in enumerate([0, 1, 1, 2, 0], 1):
        store.ask(number, {"lr": 0.01, "opt": "adam"}, None)
        store.attempt_started(number, 1, "source", slot)
        store.attempt_ended(Outcome(number, 1, 0, None, "", 1e9, 1e9 + 1, 1.0), "completed", 1.0)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["slot"] == [0, 1, 1, 2, 0]


def test_a_programs_own_loop(browser, home):
    search = studio.Search({"x": [1, 2, 3]}, project="own")
    search.tell(search.ask(), 1.0)
    search.tell(search.ask(), None)
    search.close()
    data = browser.json("/api/projects/own/experiments?layout=columns")
    assert (data["status"], data["fitness"], data["values"]) == (["completed", "failed"], [1.0, None], {"x": [1, 2]})
    assert browser.get("/p/own/1").status_code == 200
    answer = browser.act("own", "resume")
    assert (answer.status_code, "driven by a Python program" in answer.json()["error"]["message"]) == (400, True)


def test_a_programs_own_loop_is_done_when_it_has_nothing_more_to_do(browser, home):
    def state():
        listed = {line["project"]: line["state"] for line in browser.json("/api/projects")["projects"]}
        found = {browser.json("/api/projects/own")["state"], listed["own"], studio.Project("own").state}
        assert len(found) == 1
        return found.pop()

    search = studio.Search({"x": [1, 2]}, project="own")
    search.tell(search.ask(), 1.0)
    assert state() == "running"
    search.close()
    assert state() == "incomplete"
    assert "Program exited" in browser.get("/p/own").text
    search = studio.Search({"x": [1, 2]}, project="own")
    for suggestion in search:
        search.tell(suggestion, 2.0)
    assert state() == "running"  # the program has it still
    search.close()
    assert state() == "done"
    studio.Search({"x": [1, 2]}, project="own").close()  # somebody looks at its best
    assert state() == "done"
    search = studio.Search({"x": [1, 2]}, project="own")
    search.add({"x": 2})
    search.close()
    assert state() == "incomplete"  # it was given more to do


def test_what_a_programs_own_loop_does_not_hear_is_refused(browser, home):
    search = studio.Search({"x": [1, 2]}, project="own")
    search.tell(search.ask(), None)
    for _ in ("it runs", "it ended"):
        refused = browser.json("/api/projects/own")["actions"]
        for action in ACTIONS:
            assert "driven by a Python program" in refused[action]
            given = {} if action in ("stop", "retry") else {"experiments": 1, "values": {"x": 2}}
            answer = browser.act("own", action, given)
            assert (answer.status_code, "driven by a Python program" in answer.json()["error"]["message"]) == (
                400,
                True,
            )
        assert not list((home / "projects" / "own").glob("requests/*"))
        search.close()


def test_numbers_that_json_cannot_say(browser, project):
    store = project(count=0)
    store.ask(1, {"lr": float("inf"), "opt": "adam"}, None)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["values"]["lr"] == [None]
    assert browser.json("/api/projects/digits/experiments/1")["values"]["lr"] is None
    assert browser.get("/p/digits/1").status_code == 200


def test_ten_thousand_experiments_in_less_than_a_megabyte(browser, project):
    store = project(count=0)
    with store.transaction():
        for number in range(1, 10_001):
            ran(store, number, failed=number % 7 == 0, loss=0.1 + (number * 0.6180339887) % 1)
    answer = browser.get("/api/projects/digits/experiments?layout=columns")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 400_000
    assert len(answer.json()["number"]) == 10_000


# --- the strip ----------------------------------------------------------------------------------------------------------


def test_summary(browser, project):
    store = project(count=5)
    store.begin_session(begun=1_700_000_000.0)
    store.end_session("stopped", 1_700_000_070.0)
    store.close()
    data = browser.json("/api/projects/digits")
    best = data["best"]
    assert (best["number"], best["metric"]["value"], best["values"]) == (5, 0.2, {"lr": 0.02, "opt": "adam"})
    assert data["experiments_since_best"] == 0
    assert data["counts"] == {"completed": 4, "failed": 1}
    assert (data["finished"], data["planned"], data["state"], data["metric"]["direction"]) == (5, 10, "stopped", "min")
    assert data["elapsed"] == 70.0
    assert data["failures"][0]["experiments"] == [3]


def test_elapsed_is_the_time_of_all_sessions_without_pauses_and_breaks(browser, project):
    store = project(count=0)
    for number, (begun, ended) in enumerate([(0, 10), (2, 12), (13, 20), (1000, 1008)], 1):  # a break after 20 seconds
        store.ask(number, {"lr": 0.01, "opt": "adam"}, None)
        store.attempt_ended(Outcome(number, 1, 0, None, "", 1e9 + begun, 1e9 + ended, ended - begun), "completed", 1.0)
    store.begin_session(2, 4, begun=1e9 + 995)
    store.change_session(4, None, [[1e9 + 996, 1e9 + 999]])
    store.end_session("done", 1e9 + 1009)
    store.close()
    data = browser.json("/api/projects/digits")
    assert data["elapsed"] == 20 + 14 - 3
    assert "Done in 31 s" in browser.get("/p/digits").text


def test_time_left_when_a_search_goes_on(browser, project):
    """Of this session nothing has ended yet: it is as long as it was before. A pause is no work."""
    store = project(count=0)
    with store.transaction():
        for number in range(1, 7):
            ran(store, number)  # 9 seconds each
    now = time.time()
    store.begin_session(2, 10, begun=now - 100)
    data = browser.json("/api/projects/digits")
    assert (data["rate"], data["seconds_left"]) == (
        pytest.approx(60 * 2 / 9, rel=0.01),
        pytest.approx(4 * 4.5, rel=0.01),
    )
    assert data["elapsed"] == pytest.approx(6 * 9 + 5 + 100, abs=5)  # gaps of a second between them belong to it
    store.ask(7, {"lr": 0.1, "opt": "sgd"}, None)
    store.attempt_ended(Outcome(7, 1, 0, None, "", now - 60, now - 50, 10.0), "completed", 1.0)
    store.change_session(10, None, [[now - 40, now]])
    data = browser.json("/api/projects/digits")
    assert data["rate"] == pytest.approx(60 / 60, rel=0.05)
    assert data["seconds_left"] == pytest.approx(3 * 60, rel=0.05)


def test_failures_alone_say_nothing_of_the_rate(browser, project):
    store = project(count=0)
    now = time.time()
    store.begin_session(2, 10, begun=now - 1)
    for number in (7, 8):
        store.ask(number, {"lr": 0.1, "opt": "sgd"}, None)
        store.attempt_ended(Outcome(number, 1, 1, None, "crash", now - 1, now - 0.9, 0.1), "failed", None)
    data = browser.json("/api/projects/digits")
    assert (data["rate"], data["seconds_left"]) == (None, None)
    ran(store, 1)  # 9 seconds, in an earlier session
    assert browser.json("/api/projects/digits")["rate"] == pytest.approx(60 * 2 / 9, rel=0.01)


def test_nothing_has_a_best_of_null_not_of_0(browser, project):
    project(count=0)
    data = browser.json("/api/projects/digits")
    assert (data["best"], data["failures"], data["seconds_left"]) == (None, [], None)
    assert "No experiment has started yet." in browser.get("/p/digits").text


def test_the_projects(browser, project):
    project("digits", 4)
    project("empty", 0)
    lines = {line["project"]: line for line in browser.json("/api/projects")["projects"]}
    assert (lines["digits"]["best"]["metric"]["value"], lines["digits"]["best"]["number"]) == (0.25, 4)
    assert lines["digits"]["counts"] == {"completed": 3, "failed": 1}
    assert (lines["digits"]["state"], lines["digits"]["finished"], lines["digits"]["planned"]) == ("running", 4, 10)
    assert (lines["empty"]["best"], lines["empty"]["experiments"]) == (None, 0)
    queued = r"</svg>(\d+) queued"  # of the ten: what a running search has yet to ask for counts, too
    assert re.findall(queued, browser.get("/p/digits").text) == ["6"]


def test_a_damaged_project_hides_no_other(browser, project, home):
    project("digits")
    (home / "projects" / "broken").mkdir()
    (home / "projects" / "broken" / "studio.db").write_text("no database, but long enough to be looked at" * 100)
    lines = {line["project"]: line for line in browser.json("/api/projects")["projects"]}
    assert lines["digits"]["experiments"] == 3
    assert lines["broken"]["state"] == "damaged"
    assert "studio doctor broken" in lines["broken"]["problem"]
    assert "broken" in browser.get("/").text
    assert browser.get("/p/broken").status_code == 500
    assert "studio doctor broken" in browser.get("/p/broken").text


@pytest.fixture
def with_a_failed_best(project):
    """The third has the smallest loss of all, and failed after it."""
    store = project(count=2)
    store.ask(3, {"lr": 0.01, "opt": "adam"}, [0.5, 0.5])
    failed = Outcome(3, 1, 1, None, "exit code 1: out of luck", 1e9, 1e9 + 1, 1.0, failure="crash")
    store.attempt_ended(failed, "failed", 0.001)
    store.tell(3, None)
    return store


def test_what_failed_is_never_the_best(browser, with_a_failed_best, command):
    with_a_failed_best.begin_session()
    with_a_failed_best.end_session("done", 1e9)
    with_a_failed_best.close()
    assert browser.json("/api/projects/digits")["best"]["number"] == 2
    assert browser.json("/api/projects")["projects"][0]["best"]["number"] == 2
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    assert (data["metric"]["val_loss"], data["fitness"]) == ([1.0, 0.5, None], [-1.0, -0.5, None])
    assert numbers_on(browser.get("/p/digits").text) == [2, 1, 3]
    one = browser.json("/api/projects/digits/experiments/3")
    assert (one["status"], one["metric"]["value"], one["rank"]) == ("failed", 0.001, None)
    text = browser.get("/p/digits/3").text
    assert "No result" in text
    assert "0.001 before it failed" in text
    rows = {row["number"]: row["metric"] for row in csv.DictReader(io.StringIO(command("export", "digits").out))}
    assert rows == {"1": "1.0", "2": "0.5", "3": ""}
    assert "Best: `0.5`" in command("report", "digits", "--format=md").out
    assert "so far: 0.5 (#2)" in command("plot", "digits").out
    found = studio.Project("digits")
    assert (found.best.number, found.to_dataframe()["metric"].min()) == (2, 0.5)
    journal = [json.loads(line) for line in command("export", "digits", "--format=optuna", "-o", "-").out.splitlines()]
    assert [line["value"] for line in journal if line["op_code"] == 4] == [1.0, 0.5, None]


def test_any_number_of_retries_may_take_the_best_back(browser, project):
    store = project(count=70)
    with store.transaction():
        for number in range(1, 70):
            store.tell(number, None)
            store.attempt_ended(_outcome(number, 2), "failed", 0.001)
    assert browser.json("/api/projects")["projects"][0]["best"]["number"] == 70


def test_a_retry_may_take_the_best_back(browser, project):
    store = project(count=2)
    store.tell(2, -5.0)
    store.attempt_ended(_outcome(2, 2), "completed", 5.0)
    (line,) = browser.json("/api/projects")["projects"]
    assert (line["best"]["number"], line["best"]["metric"]["value"]) == (1, 1.0)
    assert browser.json("/api/projects/digits")["best"]["number"] == 1


def _outcome(number, attempt):
    from studio.experiment import Outcome

    return Outcome(number, attempt, 0, None, "", 1e9, 1e9 + 1, 1.0)


# --- one experiment -----------------------------------------------------------------------------------------------------


def test_one_experiment(browser, home, command, script):
    script("train.py", "lr = 0.5\nopt = 'x'\nprint(opt, 'fitness:')\nprint('fitness:', lr)\n")
    assert (
        command(
            "run",
            "--project=digits",
            "--hp=lr=0.25,0.125",
            "--hp=opt=sgd",
            "--env=DB_PASS=hush",
            "--env=A=b",
            "train.py",
            "7",
        ).code
        == 0
    )
    data = browser.json("/api/projects/digits/experiments/1")
    assert (data["values"], data["fitness"], data["rank"], data["ranked"]) == ({"lr": 0.25, "opt": "sgd"}, 0.25, 1, 2)
    assert data["argv"].endswith("train.py 7")
    assert data["command"] == ("studio run --hyperparam=lr=0.25 --hyperparam=opt=sgd --env=DB_PASS --env=A train.py 7")
    (file,) = data["diff"]
    assert file["path"] == "train.py"
    changed = [(line["kind"], line["line"], line["text"]) for line in file["lines"] if line["kind"] != " "]
    assert changed[0] == ("-", 3, "print(opt, 'fitness:')")
    assert ("+", 4, "print('fitness:', 0.25)") in changed
    assert "fitness: 0.25" in data["log"]["text"]
    paths = [file["path"] for file in data["files"]]
    assert "output.log" in paths
    assert "workspace/train.py" not in paths  # it was copied there
    assert "hush" not in json.dumps(data) + browser.get("/p/digits/2").text  # secrets stay where they are
    assert data["environment"]["$DB_PASS"] == "…"
    assert data["attempts"][0]["status"] == "completed"
    assert data["environment"]["python"] == platform.python_version()
    assert "numpy " in data["environment"]["packages"]
    assert data["resources"]["CPU time"].endswith(" s")
    text = browser.get("/p/digits/1").text
    assert "print(&#39;fitness:&#39;, 0.25)" in text


def test_its_command_runs_it_again(browser, home, command, script):
    text = "lr = 0.5\nopt = 'x'\nprint(opt)\nprint('fitness:', lr + np.load(fs_tracker.get_artifact('scale')).sum())\n"
    script("train.py", f"import numpy as np\nfrom studio import fs_tracker\n{text}")
    ranges = ("--hp=lr=0:1", "--hp=opt=adam,sgd", "--hp=scale=0:1:3:a")
    command("run", "--project=digits", "--optimizer=random", "--max-experiments=2", *ranges, "train.py")
    data = browser.json("/api/projects/digits/experiments/2")
    words = shlex.split(data["command"])
    assert command(*words[1:2], "--project=again", *words[2:]).code == 0
    (found,) = studio.Project("again").experiments
    assert found.values == {name: value for name, value in data["values"].items() if name != "scale"}
    assert found.fitness == data["fitness"]


def test_what_is_not_there(browser, project):
    project()
    for path in [
        "/api/projects/digits/experiments/99",
        "/api/projects/digits/experiments/0",
        "/api/projects/nix/experiments/1",
        "/p/digits/99",
        "/api/projects/digits/experiments/99/log",
        "/api/projects/digits/experiments/99/files/x",
    ]:
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "there is no" in answer.text or "has no" in answer.text


# --- curves -------------------------------------------------------------------------------------------------------------


def test_curves_and_their_quartiles(browser, home, command, script):
    script("train.py", "lr = 1\nfor step in range(100):\n    print('fitness:', lr * step)\n")
    command("run", "--project=digits", "--hp=lr=1,2,3", "train.py")
    found = browser.json("/api/projects/digits/curves?experiments=1,3,99")
    assert list(found["curves"]) == ["1", "3"]
    assert found["curves"]["3"]["step"] == list(range(1, 101))
    assert found["curves"]["3"]["value"][-1] == 297.0
    few = browser.json("/api/projects/digits/curves?experiments=3&points=5")["curves"]["3"]
    assert few == {"step": [1, 26, 51, 75, 100], "value": [0.0, 75.0, 150.0, 222.0, 297.0]}
    band = browser.json("/api/projects/digits/curve-quartiles?points=3")
    assert (band["count"], band["median"]) == (3, [0.0, 100.0, 198.0])
    assert (band["q25"][-1], band["q75"][-1]) == (148.5, 247.5)


# --- pages --------------------------------------------------------------------------------------------------------------


def numbers_on(text):
    return [int(number) for number in re.findall(r'<tr id="row-\d+" data-number="(\d+)"', text)]


def test_comparing(browser, project):
    project(count=4)
    text = browser.get("/p/digits/compare?e=1,3").text
    assert 'data-key="lr" class="different"' in text
    assert re.search(r"1 hyperparameter with equal values.*data-key=.opt.", text, re.DOTALL)  # both adam
    assert browser.get("/p/digits/compare").status_code == 404
    assert browser.get("/p/digits/compare?e=1,99").status_code == 404


def test_a_comparison_begins_with_the_best_and_marks_what_differs(browser, project):
    project(count=8)
    text = browser.get("/p/digits/compare?e=1,2,3").text
    assert re.findall(r'<i class="dot c-\d"></i><a href="/p/digits/(\d)">', text) == ["2", "1", "3"]  # 3 failed
    assert "Differences are from #2, the best of these 3" in text
    row = re.search(r'<tr data-key="lr".*?</tr>', text)[0]
    assert re.findall(r"<(span|b)>([\d.]+)</", row) == [("span", "0.05"), ("b", "0.1"), ("b", "0.03333")]
    assert re.findall(r'class="delta">(.*?)<', row) == ["+0.05", "-0.01667"]
    for given, words in (("1", "two to five"), ("1,2,3,4,5,6,7", "7 experiments are named; at most 5")):
        answer = browser.get(f"/p/digits/compare?e={given}")
        assert (answer.status_code, words in answer.text) == (404, True)


def test_the_page_of_an_experiment_is_about_it_alone(browser, project):
    store = project(count=4)
    folder = store.folder / "3" / "1"
    folder.mkdir(parents=True)
    for name in ("outcome.json", "artifacts.json", "usage.json", "model.npz"):
        (folder / name).write_text("{}")
    text = browser.get("/p/digits/3").text
    assert "<i></i>failed</span>" in re.search(r'id="live".*', text)[0]  # not the project's state
    assert re.findall(r'rel="(\w+)" href="/p/digits/(\d)"', text) == [("prev", "2"), ("next", "4")]
    assert 'href="/p/digits/compare?e=4,3"' in text  # with the best
    for card in ("environment", "diff", "attempts"):  # nothing is known of them
        assert f'id="{card}"' not in text
    assert "Nothing was printed." in text
    assert ">download</a>" not in text  # of a log that is not there
    assert re.findall(r"download>([\w.]+)</a>", text) == ["model.npz", "artifacts.json", "outcome.json", "usage.json"]


def test_no_part_of_a_page_is_empty_while_it_loads(browser, project):
    project(count=4)
    text = browser.get("/p/digits").text + browser.get("/p/digits/compare?e=1,2").text
    for part in ("charts", "slots", "more", "curves"):
        assert re.search(rf'<section class="[^"]*" id="{part}"[^>]*><p class="note[^>]*>Loading [a-z ]+…</p>', text), (
            part
        )
    assert re.search(r'<div class="plot" data-curve="4"[^>]*><p class="note wait">Loading its curve…</p>', text)


def test_what_runs_has_taken_its_time_so_far(browser, project):
    store, so_far = project(count=1), r"(0(\.\d+)? s|\d+:\d\d)"
    store.ask(2, {"lr": 0.01, "opt": "adam"}, [0.5, 0.5])
    store.attempt_started(2, 1)
    text = browser.get("/p/digits/2").text
    assert re.search(rf'id="time" data-since="[\d.]+">{so_far}<', text)
    assert '<span class="live" id="live"' in text
    assert re.search(rf'running for <span data-since="[\d.]+">{so_far}<', browser.get("/p/digits?e=2").text)
    row = re.search(r'<tr id="row-2".*?</tr>', browser.get("/p/digits").text, re.DOTALL)[0]
    assert re.search(rf'data-key="duration"[^>]*>{so_far}<', row)


def test_the_list_shows_how_each_search_goes(browser, project, home):
    store = project("digits", count=5)
    store.end_session("done", 1_700_000_100.0)
    failing = project("failing", count=0)
    ran(failing, 1, failed=True)
    failing.begin_session(1, 1, begun=1e9)
    failing.end_session("done", 2e9)
    failing.close()
    rows = dict(re.findall(r'<tr data-project="(\w+)">(.*?)</tr>', browser.get("/").text, re.DOTALL))
    assert re.search(r'<svg class="rise".*?<path d="M[\d.]+ [\d.]+H', rows["digits"])
    assert re.search(r'<b title="0.2">0.2</b> <span class="w">lowest val_loss</span>', rows["digits"])
    assert 'data-state="All failed"' in rows["failing"]
    assert "No result: it failed" in rows["failing"]


def test_a_search_that_gave_up_is_not_called_paused(browser, project):
    store = project(count=0)
    ran(store, 1, failed=True)
    store.begin_session(1, 9, begun=1e9)
    store.end_session("failures", 2e9)
    store.close()
    text = browser.get("/p/digits").text
    assert re.search(r'id="live" data-state="Stopped: too many failures"', text)
    assert "RuntimeError: out of luck" in re.search(r'<p class="why">.*?</p>', text, re.DOTALL)[0]


def test_the_record_is_summed_up_once_a_version(browser, project, monkeypatch):
    from studio.dashboard import open_projects

    store = project()
    asked = []
    monkeypatch.setattr(open_projects, "summarize", lambda folder: asked.append(folder) or summarize(folder))
    monkeypatch.setattr(open_projects, "counted", lambda *given: asked.append("counted") or counted(*given))
    for _ in range(3):
        browser.get("/p/digits")
        browser.json("/api/projects/digits")
    assert len(asked) == 2
    ran(store, 4)
    assert browser.json("/api/projects/digits")["experiments"] == 4
    assert len(asked) == 4


def test_the_first_rows_are_made_once_a_version(browser, project, monkeypatch):
    from studio.dashboard import open_projects

    store, made = project(), []
    monkeypatch.setattr(open_projects, "first_rows", lambda table: made.append(len(table)) or first_rows(table))
    for _ in range(3):
        assert numbers_on(browser.get("/p/digits").text) == [2, 1, 3]
    ran(store, 4)
    assert numbers_on(browser.get("/p/digits").text) == [4, 2, 1, 3]
    assert made == [3, 4]


def test_searching_projects(browser, project):
    project("digits")
    project("letters", optimizer="random")
    assert re.findall(r'data-project="(\w+)"', browser.get("/?sort=project").text) == ["digits", "letters"]
    assert re.findall(r'data-project="(\w+)"', browser.get("/?sort=-project").text) == ["letters", "digits"]
    assert re.findall(r'data-project="(\w+)"', browser.get("/?q=RAND").text) == ["letters"]
    assert "No project matches" in browser.get("/?q=nix").text


def test_hundreds_of_projects_come_in_pages(browser, home, project):
    store = project("p000", count=1)
    store.close()
    for number in range(1, 230):
        shutil.copytree(store.folder, home / "projects" / f"p{number:03}")
    first, third = browser.get("/?sort=project").text, browser.get("/?sort=project&page=3").text
    names = re.findall(r'data-project="(\w+)"', first)
    assert (len(names), names[0], names[-1]) == (100, "p000", "p099")
    assert "230 projects" in first
    assert "page 1 of 3" in first
    assert len(re.findall(r'data-project="(\w+)"', third)) == 30
    assert re.findall(r'data-project="(\w+)"', browser.get("/?q=p229").text) == ["p229"]  # of all, not of the page
    took = []
    for _ in range(5):
        began = time.monotonic()
        browser.get("/?sort=project")
        took.append(time.monotonic() - began)
    assert min(took) < 1  # 0.05 s where nothing else is at work


@pytest.mark.parametrize(("now", "words"), [(1.25, "$1.25"), (0.001, "$0.001")])
def test_what_a_project_has_cost(browser, project, now, words):
    store = project("clouds", count=1)
    project("here", count=1)
    assert "Cost" not in browser.get("/").text
    (store.folder / "cost.json").write_text(
        json.dumps({"dollars": now})
    )  # nothing else has changed since the last look
    lines = {line["project"]: line["cost"] for line in browser.json("/api/projects")["projects"]}
    assert lines == {"clouds": now, "here": None}
    text = browser.get("/").text
    assert words in text
    assert ">Cost" in text
    (store.folder / "cost.json").write_text("damaged")
    assert {line["project"]: line["cost"] for line in browser.json("/api/projects")["projects"]}["clouds"] is None


def test_no_projects(browser):
    assert "No projects yet." in browser.get("/").text


def test_what_scripts_of_the_page_get(browser, project):
    project(count=3)
    text = browser.get("/p/digits").text
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', text)[1])
    assert (data["page"], data["project"]) == ("project", "digits")
    assert data["summary"]["best"]["number"] == 2
    assert not browser.json(f"/api/projects/digits/experiments?layout=columns&changed_since={data['version']}")[
        "complete"
    ]


# --- export -------------------------------------------------------------------------------------------------------------


def test_export(browser, project, command):
    store = project(count=3)
    store.ask(4, {"lr": 0.1, "opt": "=HYPERLINK()"}, None)
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/projects/digits/experiments.csv").text)))
    assert [row["metric"] for row in rows] == ["1.0", "0.5", "", ""]
    assert rows[0]["lr"] == "0.1"
    assert rows[3]["opt"] == "'=HYPERLINK()"  # a text, not a formula
    assert browser.json("/api/projects/digits/experiments")["experiments"] == json.loads(
        command("runs", "list", "digits", "--json").out
    )


def test_reading_changes_nothing(browser, project, home):
    project(count=3).close()
    before = (home / "projects" / "digits" / "studio.db").read_bytes()
    for path in (
        "/",
        "/p/digits",
        "/p/digits/1",
        "/api/projects/digits/experiments?layout=columns",
        "/api/projects/digits/importance",
    ):
        browser.get(path)
    assert (home / "projects" / "digits" / "studio.db").read_bytes() == before
    Store.open(home / "projects" / "digits").close()  # and nobody holds it


@pytest.mark.parametrize(
    "value", ["1", "sgd", "a,b", "1:2", "it's", 'say "x"', "nan", "None", " a", "", "-1", True, None, 1e-5, 3]
)
def test_the_command_of_an_experiment_has_its_values_and_not_the_ranges(value):
    settings = {
        "script": "train.py",
        "optimizer": "cma",
        "ranges": {"opt": "0:1"},
        "max_experiments": 9,
        "num_workers": 4,
        "start_from": ["opt=0.5"],
    }
    stored = {**settings, "max_duration": 60, "python": "/opt/python"}
    words = shlex.split(experiment_command("digits/7", stored, {"opt": value}, create_host()))
    assert (words[:2], words[3:]) == (
        ["studio", "run"],
        ["--python=/opt/python", "--max-duration=60s", "train.py"],
    )
    (space,) = read_space({"opt": words[2].removeprefix("--hyperparam=opt=")}, create_host(), grid=True)
    assert (space.value, type(space.value)) == (value, type(value))


def test_a_commit_that_readers_could_not_see_yet_is_seen_soon(project, monkeypatch):
    """SQLite has it in its log, so that the files have changed, and syncs the disk before it is visible."""
    store = project(count=1)
    table = ExperimentTable(store.folder, create_host())
    table.refresh()
    ran(store, 2)
    monkeypatch.setattr(table, "_read", lambda: None)
    assert table.refresh()
    monkeypatch.undo()
    assert len(table) == 1
    wait_for(lambda: table.refresh() and len(table) == 2)  # and nothing is written meanwhile


def test_what_could_not_be_read_is_read_at_the_next_look(server, browser, project, monkeypatch):
    from studio.dashboard import experiment_table as table

    store = project(count=1)
    assert browser.json("/api/projects/digits/experiments?layout=columns")["number"] == [1]
    ran(store, 2)
    with monkeypatch.context() as patch:
        patch.setattr(table, "read_rows", lambda *arguments: 1 / 0)
        assert browser.get("/api/projects/digits/experiments?layout=columns").status_code == 500
    with Browser(server) as again:  # uvicorn has closed the connection of the other
        assert again.json("/api/projects/digits/experiments?layout=columns")["number"] == [1, 2]


DIGITS = "9" * 5000


def test_numbers_with_very_many_digits_are_nowhere(browser, project):
    project()
    for path in [
        f"/p/digits/{DIGITS}",
        f"/api/projects/digits/experiments/{DIGITS}",
        f"/api/projects/digits/experiments/{DIGITS}/log",
    ]:
        assert browser.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["experiments/1/log?attempt=", "experiments?layout=columns&changed_since=00000000.", "curves?experiments="]
)
@pytest.mark.parametrize("digits", [DIGITS, "٣", "9" * 19])
def test_numbers_that_are_none_of_ours_count_as_not_given(browser, project, path, digits):
    project()
    version = browser.json("/api/projects/digits/experiments?layout=columns")["version"].partition(".")[0]
    assert browser.get(f"/api/projects/digits/{path.replace('00000000', version)}{digits}").status_code == 200


def test_a_hyperparameter_called_as_a_column_has_another_key(browser, project):
    store = project(count=0, ranges={"number": "1:9:i", "status": "a,b"})
    for number in (1, 2, 3):
        store.ask(number, {"number": 9 - number, "status": "b", "slot": 5}, None)
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    keys = [column["key"] for column in data["columns"]]
    assert len(set(keys)) == len(keys)
    assert (data["number"], data["values"]["values.number"], data["values"]["values.slot"]) == (
        [1, 2, 3],
        [8, 7, 6],
        [5] * 3,
    )
    answer = browser.act("digits", "add-values", {"values": {"values.number": 1, "values.status": "nix"}})
    assert answer.json()["error"]["message"] == "hyperparameter status: 'nix' is not one of a, b"


@pytest.mark.parametrize("digits", [DIGITS, "٣"])
def test_a_version_of_the_list_that_is_none_means_all(browser, project, digits):
    project()
    version = browser.json("/api/projects")["version"].partition(".")[0]
    assert browser.json(f"/api/projects?changed_since={version}.{digits}")["complete"]


def test_thirty_ends_are_twenty_nine_intervals(browser, project):
    store = project(count=0)
    now = time.time()
    with store.transaction():
        for number in range(1, 31):  # one in ten seconds; the last one just now
            store.ask(number, {"lr": 0.1, "opt": "sgd"}, None)
            ended = now - 10 * (30 - number)
            store.attempt_ended(Outcome(number, 1, 0, None, "", ended - 10, ended, 10.0), "completed", 1.0)
    store.begin_session(1, 40, begun=now - 1000)
    assert browser.json("/api/projects/digits")["rate"] == pytest.approx(6.0, rel=0.02)
