"""core/failures.py: what `--retry-failed` and `--on-failure` mean, and when a search is given up."""

import pytest

from studio.errors import BadInput
from studio.experiment import FAILURES, Experiment
from studio.project.project import all_projects
from studio.search.loop.give_up import FIRST, IN_A_ROW, FailureWatch
from studio.settings import parse_retries, parse_stop_on

NONE = {"crash": 0, "memory": 0, "timeout": 0, "lost": 3, "metric": 0, "diverged": 0}  # what is tried again by default


# --- retries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "retries"),
    [
        (None, NONE),
        ((), NONE),  # as the command line has it when it was not given
        ("0", dict.fromkeys(FAILURES, 0)),
        (2, dict.fromkeys(FAILURES, 2)),
        ("2", dict.fromkeys(FAILURES, 2)),
        ("memory=1", NONE | {"memory": 1}),
        ("lost=0", NONE | {"lost": 0}),
        ("lost=5,timeout=1", NONE | {"lost": 5, "timeout": 1}),
        (" lost = 5 , timeout=1 ", NONE | {"lost": 5, "timeout": 1}),
        ("2,memory=0", dict.fromkeys(FAILURES, 2) | {"memory": 0}),
        ("memory=0,2", dict.fromkeys(FAILURES, 2)),  # the last word counts
        ("crash=1,crash=4", NONE | {"crash": 4}),
        (["1", "memory=0"], dict.fromkeys(FAILURES, 1) | {"memory": 0}),
        ((1, "memory=0,lost=2"), dict.fromkeys(FAILURES, 1) | {"memory": 0, "lost": 2}),
        ({"crash": 1, "lost": "7"}, NONE | {"crash": 1, "lost": 7}),
        ({}, NONE),
        ("999999999", dict.fromkeys(FAILURES, 999_999_999)),
    ],
)
def test_retries_of_each_class(given, retries):
    assert parse_retries(given) == retries


@pytest.mark.parametrize(
    ("given", "quoted", "advice"),
    [
        ("x", "'x'", "write for example 2, or memory=0,lost=5"),
        ("", "''", "write for example 2"),
        (",", "''", "write for example 2"),
        ("2,", "''", "write for example 2"),
        ("-1", "'-1'", "write for example 2"),
        (-1, "'-1'", "write for example 2"),
        ("1.5", "'1.5'", "write for example 2"),
        (1.0, "'1.0'", "write for example 2"),
        (True, "'True'", "write for example 2"),
        ("1e3", "'1e3'", "write for example 2"),
        ("1000000000", "'1000000000'", "write for example 2"),
        ("2\n3", r"'2\n3'", "write for example 2"),
        ("²", "'²'", "write for example 2"),
        ("crash", "'crash'", "write for example 2, or memory=0,lost=5"),
        ("memory=", "'memory='", "write for example 2"),
        ("memory=x", "'memory=x'", "write for example 2"),
        ("memory=-1", "'memory=-1'", "write for example 2"),
        ({"memory": None}, "'memory=None'", "write for example 2"),
        ("memry=1", "'memry=1'", "did you mean 'memory'?"),
        ("Memory=1", "'Memory=1'", "did you mean 'memory'?"),
        ("oom=1", "'oom=1'", "there are: crash, diverged, lost, memory, metric, timeout"),
        ("=2", "'=2'", "there are: crash, diverged, lost, memory, metric, timeout"),
        ("memory=1=2", "'memory=1=2'", "did you mean 'memory'?"),
        ({"memo\nry": 1}, r"'memo\nry=1'", "did you mean 'memory'?"),
    ],
)
def test_bad_retries_are_quoted_in_one_line(given, quoted, advice):
    check_refusal(parse_retries, given, "--retry-failed", quoted, advice)


# --- endings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        (None, []),
        ((), []),
        ("continue", []),
        ("stop", list(FAILURES)),
        ("crash=stop", ["crash"]),
        ("crash=stop,timeout=continue", ["crash"]),
        ("metric=stop, memory = stop", ["memory", "metric"]),
        ("stop,crash=continue", [failure for failure in FAILURES if failure != "crash"]),
        ("crash=stop,continue", []),
        (["memory=stop", "lost=stop"], ["memory", "lost"]),
        ({"timeout": "stop"}, ["timeout"]),
    ],
)
def test_classes_that_end_the_search(given, ends):
    assert parse_stop_on(given) == ends


@pytest.mark.parametrize(
    ("given", "quoted", "advice"),
    [
        ("halt", "'halt'", "for one class write crash=stop"),
        ("", "''", "for one class write crash=stop"),
        ("STOP", "'STOP'", "neither continue nor stop"),
        ("crash=", "'crash='", "neither continue nor stop"),
        ("crash=halt", "'crash=halt'", "neither continue nor stop"),
        (1, "'1'", "neither continue nor stop"),
        (True, "'True'", "neither continue nor stop"),
        ("crush=stop", "'crush=stop'", "did you mean 'crash'?"),
        ("=stop", "'=stop'", "there are: crash, diverged, lost, memory, metric, timeout"),
    ],
)
def test_bad_endings_are_quoted_in_one_line(given, quoted, advice):
    check_refusal(parse_stop_on, given, "--on-failure", quoted, advice)


def check_refusal(parse, given, option, quoted, advice):
    with pytest.raises(BadInput) as refused:
        parse(given)
    text = str(refused.value)
    assert text.startswith(f"{option} {quoted}")
    assert advice in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("option", "quoted"),
    [("--retry-failed=memory=x", "'memory=x'"), ("--retry-failed=-1", "'-1'"), ("--on-failure=halt", "'halt'")],
)
def test_the_command_says_it_and_writes_nothing(command, script, home, option, quoted):
    script("train.py", "lr = 1\nprint(lr)\n")
    result = command("run", "--project=p", option, "--hp=lr=1:2", "train.py")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"{option.partition('=')[0]} {quoted}" in result.err
    assert not (home / "projects" / "p").exists()


def test_both_options_can_be_given_several_times(command, script, home):
    script("train.py", "lr = 1\nraise SystemExit(lr)\n")
    options = ["--retry-failed=1", "--retry-failed=crash=0", "--on-failure=stop", "--on-failure=crash=continue"]
    result = command("run", "--project=p", *options, "--hp=lr=1:2", "train.py")
    assert (result.code, result.err.count("failed  lr="), "attempt" in result.err) == (1, 2, False)


# --- when nothing works any more ----------------------------------------------------------------------------------------


def watch(*statuses):
    """Return the notices after each experiment, given as a status or as the reason of a failed one."""
    one = FailureWatch(learns=True)
    said = []
    for number, text in enumerate(statuses, 1):
        status = text if text in ("completed", "stopped", "pruned") else "failed"
        said.append(one.add(Experiment("p", number, status, {}, reason=text)))
    return said


def test_the_first_ones_all_fail():
    said = watch(*["exit code 1: no data"] * FIRST)
    assert said[:-1] == [""] * (FIRST - 1)
    assert said[-1] == "giving up: 5 experiments failed in a row, 5 of them for the same reason: exit code 1: no data"


def test_of_several_reasons_the_most_common_is_said():
    assert watch("a", "b", "b", "c", "b")[-1].endswith(
        "5 experiments failed in a row, 3 of them for the same reason: b"
    )


def test_once_one_completed_it_takes_more():
    said = watch("completed", *["a"] * IN_A_ROW)
    assert said[:-1] == [""] * IN_A_ROW
    assert said[-1].startswith(f"giving up: {IN_A_ROW} experiments failed")


@pytest.mark.parametrize(
    ("reason", "learns", "ends"),
    [
        ("metric 'acuracy' never came; did you mean --metric=accuracy? seen: accuracy", False, True),
        ("metric 'foo' never came; seen elsewhere: loss 0.5 (printed lines): --metric=loss:min", False, True),
        ("metric 'foo' never came; no metric was logged", False, False),
        ("metric 'foo' never came; no metric was logged", True, True),
    ],
)
def test_the_first_success_without_the_metric_but_with_others_ends_it(reason, learns, ends):
    one = FailureWatch(learns=learns)
    crashed = Experiment("p", 1, "failed", {}, reason="exit code 1")
    assert one.add(crashed) == ""
    said = one.add(failed(reason), without_metric=True)
    assert said == (f"giving up: experiment 1 succeeded but has no metric: {reason}" if ends else "")


def test_a_metric_that_came_before_may_be_missing_later():
    one = FailureWatch(learns=False)
    one.add(Experiment("p", 1, "completed", {}))
    assert one.add(failed("metric 'foo' never came; seen: loss"), without_metric=True) == ""


def test_a_completed_one_in_between_begins_the_count_anew():
    row = ["a"] * (IN_A_ROW - 1)
    assert set(watch("completed", *row, "completed", *row)) == {""}


@pytest.mark.parametrize("status", ["stopped", "pruned"])
def test_what_was_ended_on_purpose_says_nothing(status):
    assert set(watch(*["a"] * (FIRST - 1), *[status] * 10)) == {""}
    assert watch(*["a"] * (FIRST - 1), status, "a")[-1] != ""


# --- a package that is not there ----------------------------------------------------------------------------------------

NO_TORCH = "exit code 1: ModuleNotFoundError: No module named 'torch'"


def failed(reason):
    return Experiment("p", 1, "failed", {}, reason=reason)


@pytest.mark.parametrize(
    ("reason", "python", "words"),
    [
        (
            NO_TORCH,
            "/v/bin/python",
            "/v/bin/python has no module 'torch'; install its package: /v/bin/python -m pip install",
        ),
        (
            NO_TORCH,
            "/v/bin/torchrun",
            "/v/bin/torchrun has no module 'torch'; write the path of an interpreter that has it",
        ),
        (
            NO_TORCH.replace("torch", "sklearn.svm"),
            "/v/bin/python3.11",
            "/v/bin/python3.11 has no module 'sklearn.svm'; ",
        ),
        (NO_TORCH.replace("torch", "mine"), "/v/bin/python", ""),
        (NO_TORCH.replace("torch", "lib.data"), "/v/bin/python", ""),
        ("exit code 1: ImportError: cannot import name 'x' from 'torch'", "/v/bin/python", ""),
        ("exit code 1", "/v/bin/python", ""),
    ],
)
def test_a_missing_module_names_the_option(tmp_path, reason, python, words):
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "lib").mkdir()
    found = FailureWatch(True).advice(failed(reason), python, tmp_path)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_it_is_named_once_and_never_after_a_success(tmp_path):
    watch = FailureWatch(True)
    assert watch.advice(failed(NO_TORCH), "python", tmp_path)
    assert not watch.advice(failed(NO_TORCH), "python", tmp_path)
    watch = FailureWatch(True)
    watch.add(Experiment("p", 1, "completed", {}))
    assert not watch.advice(failed(NO_TORCH), "python", tmp_path)


def test_a_search_says_it(command, script):
    script("train.py", "import no_such_package_here\nlr = 1\nprint('fitness:', lr)\n")
    result = command("run", "--hp=lr=1,2,3,4", "train.py")
    assert result.code == 1
    assert result.err.count("or give a Python that has it: --python PATH") == 1
    assert "giving up: no value of a hyperparameter changes this" in result.err
    assert sum(one.status == "failed" for one in all_projects()[0].experiments) == 2
