"""`studio export`: CSV, JSON, and a journal that the real Optuna opens."""

import csv
import io
import json
from wsgiref.util import setup_testing_defaults

import pytest

import studio


@pytest.fixture
def project(recorded, workdir):
    """Four results: for the second of two `opt`, the choice is a formula and the script failed."""
    settings = {"metric": "jsonl:log:loss:min", "optimizer": "grid"}
    ranges = {"lr": "1e-4,0.01", "width": "8", "opt": "=1+1,sgd"}
    results = [
        ({"lr": lr, "width": 8, "opt": opt}, 8 * lr + 1 / 3 if opt == "sgd" else "exit code 1: lost its way")
        for lr in (1e-4, 0.01)
        for opt in ("=1+1", "sgd")
    ]
    made = recorded("p", results, ranges=ranges, **settings)
    for number in (2, 4):
        workspace = made.folder / str(number) / "1" / "workspace"
        workspace.mkdir()
        lr = results[number - 1][0]["lr"]
        steps = [json.dumps({"step": step, "loss": lr * 8 + 1 / step}) for step in (1, 2, 3)]
        (workspace / "log").write_text("".join(f"{step}\n" for step in steps))
    return made


def optuna_study(path):
    optuna = pytest.importorskip("optuna", reason="pip install optuna")
    journal = pytest.importorskip("optuna.storages.journal")
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_csv_has_a_line_for_each_experiment(project, command):
    result = command("export", "p")
    assert (result.code, result.err) == (0, "")
    first, *_ = rows = list(csv.DictReader(io.StringIO(result.out)))
    assert list(first)[:8] == ["number", "status", "lr", "width", "opt", "metric", "fitness", "started"]
    assert [row["status"] for row in rows].count("failed") == 2
    (best,) = [row for row in rows if row["status"] == "completed" and row["lr"] == "0.0001"]
    assert (float(best["metric"]), float(best["fitness"])) == (0.0008 + 1 / 3, -(0.0008 + 1 / 3))


def test_csv_starts_no_formula(project, command):
    rows = list(csv.DictReader(io.StringIO(command("export", "p").out)))
    assert {row["opt"] for row in rows} == {"sgd", "'=1+1"}


def test_json_is_what_runs_list_prints(project, command):
    result = command("export", "p", "--format=json")
    assert json.loads(result.out) == json.loads(command("runs", "list", "p", "--json").out)


def test_a_file_is_written_whole_and_named(project, command, workdir):
    result = command("export", "p", "-o", "out.csv")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("studio: wrote out.csv (")
    assert (workdir / "out.csv").read_text() == command("export", "p").out
    assert [path.name for path in workdir.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize("kind", ["csv", "json", "optuna"])
def test_no_experiments(home, command, workdir, kind):
    studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="p").close()
    result = command("export", "p", f"--format={kind}", "-o", "-")
    assert result.code == 0
    assert {"csv": "number,status,metric", "json": "[]", "optuna": '{"op_code":0'}[kind] in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no project 'nothing'"),
        (["p", "--format=xml"], "--format 'xml' is not one of csv, json, optuna"),
        (["p", "-o", "no/such/folder/x.csv"], "cannot write 'no/such/folder/x.csv': No such file or directory"),
    ],
)
def test_errors_are_one_line(home, command, workdir, arguments, words):
    studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="p").close()
    result = command("export", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


# --- Optuna -----------------------------------------------------------------------------------------------------------


def test_optuna_opens_the_journal(project, command, workdir):
    result = command("export", "p", "--format=optuna")
    assert "optuna-dashboard p.journal" in result.err
    study = optuna_study(workdir / "p.journal")
    assert (study.study_name, study.direction.name, study.metric_names) == ("p", "MINIMIZE", ["jsonl:log:loss (min)"])
    assert [trial.state.name for trial in study.trials].count("FAIL") == 2
    assert study.best_value == 0.0008 + 1 / 3
    assert study.best_params == {"lr": 0.0001, "width": 8, "opt": "sgd"}
    assert study.best_trial.intermediate_values == {1: 1.0008, 2: 0.5008, 3: 0.0008 + 1 / 3}
    assert study.best_trial.duration.total_seconds() > 0
    failed = next(trial for trial in study.trials if trial.state.name == "FAIL")
    assert failed.user_attrs["reason"] == "exit code 1: lost its way"
    assert failed.user_attrs["experiment"] == f"p/{failed.number + 1}"


def test_optuna_has_the_ranges(home, command, workdir):
    space = {"lr": "1e-5:0.1:l", "layers": "1:8:i", "free": "-1:1:u", "opt": ["adam", None, 2], "w": "0:1:2:a"}
    search = studio.Search(space, optimizer="random", seed=1, project="p", max_experiments=40)
    for at, suggestion in enumerate(search):
        search.tell(suggestion, None if at == 3 else float(at))
    search.close()
    command("export", "p", "--format=optuna")
    study = optuna_study(workdir / "p.journal")
    assert study.direction.name == "MAXIMIZE"
    ranges = {name: str(kind) for name, kind in study.trials[0].distributions.items()}
    assert ranges["lr"] == "FloatDistribution(high=0.1, log=True, low=1e-05, step=None)"
    assert ranges["layers"] == "IntDistribution(high=8, log=False, low=1, step=1)"
    assert ranges["opt"] == "CategoricalDistribution(choices=('adam', None, 2))"
    assert ranges["w[1]"] == "FloatDistribution(high=1.0, log=False, low=0.0, step=None)"
    for trial, experiment in zip(study.trials, studio.Project("p").experiments, strict=True):
        for name, kind in trial.distributions.items():
            assert kind._contains(kind.to_internal_repr(trial.params[name])), (name, trial.params)
        assert {name: trial.params[name] for name in ("lr", "layers", "free", "opt")} == {
            name: value for name, value in experiment.values.items() if name != "w"
        }
        assert [trial.params["w[0]"], trial.params["w[1]"]] == experiment.values["w"]


def test_optuna_goes_on_with_the_journal(project, command, workdir):
    """Trials can be added to the journal."""
    command("export", "p", "--format=optuna")
    study = optuna_study(workdir / "p.journal")
    study.enqueue_trial({"lr": 0.01, "width": 8, "opt": "sgd"})
    assert optuna_study(workdir / "p.journal").trials[-1].state.name == "WAITING"


def test_optuna_dashboard_shows_it(project, command, workdir):
    dashboard = pytest.importorskip("optuna_dashboard", reason="pip install optuna-dashboard")
    command("export", "p", "--format=optuna")
    application = dashboard.wsgi(optuna_study(workdir / "p.journal")._storage)
    request = {"PATH_INFO": "/api/studies/0", "QUERY_STRING": "after=0"}
    setup_testing_defaults(request)
    heard = []
    answer = json.loads(b"".join(application(request, lambda status, *rest: heard.append(status))))
    assert heard == ["200 OK"]
    assert [trial["state"] for trial in answer["trials"]].count("Complete") == 2
    assert sorted(item["name"] for item in answer["union_search_space"]) == ["lr", "opt", "width"]


def test_nan_is_a_choice_for_optuna(home, command):
    search = studio.Search({"x": [float("nan"), 1.0]}, project="own")
    for suggestion in search:
        search.tell(suggestion, 0.5)
    search.close()
    result = command("export", "own", "--format=optuna", "--output=-")
    assert result.code == 0, result.err
    trials = [line for line in map(json.loads, result.out.splitlines()) if "params" in line]
    assert [trial["params"] for trial in trials] == [{"x": 0}, {"x": 1}]


def test_the_name_of_the_file_says_the_format(project, command, tmp_path):
    assert command("export", "p", "-o", str(tmp_path / "x.json")).code == 0
    assert len(json.loads((tmp_path / "x.json").read_text())) == 4
