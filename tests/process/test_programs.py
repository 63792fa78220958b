"""Studio from a program: the two examples of the design, and what else a notebook does with it."""

import importlib.resources
import inspect
import os
import signal
import threading
import typing

import numpy as np
import pytest

import studio
from studio.errors import BadInput
from studio.search.observer import Observer
from studio.settings import ResumeOptions, RunOptions

PUBLIC = """
    Array Backend BackendContext BadInput Choice Constant EndSearch Estimate Experiment Integer Lines Metric
    MetricReader Optimizer Outcome Parameter Project Pruner RangeError Real Report Resources Run Runner Search Space
    StoppedRun StudioError Suggestion create_host fs_tracker hookimpl kill_tree option resume run
"""

TRAIN = """
    import sys
    from tensorboardX import SummaryWriter

    lr = 0.5
    writer = SummaryWriter("../tb")
    for epoch in range(int(sys.argv[1])):
        writer.add_scalar("val_loss", (lr - 0.0625) ** 2, epoch)
    writer.close()
"""


def fitness(lr, layers=4, optimizer="adam"):
    return -((np.log10(lr) + 3) ** 2) - abs(layers - 3) - (optimizer == "sgd")


# --- the examples of the design ---------------------------------------------------------------------------------------


def test_search_in_a_loop(home):
    search = studio.Search(
        {"lr": "1e-5:0.1:l", "layers": "1:8:i", "optimizer": ["adam", "sgd"]},
        optimizer="cma",
        seed=1,
        max_experiments=100,
    )
    for suggestion in search:
        search.tell(suggestion, fitness(**suggestion.values))
    assert search.done
    assert len(search.experiments) == 100
    assert search.best.values["lr"] == pytest.approx(1e-3, rel=0.01)
    assert (search.best.values["layers"], search.best.values["optimizer"]) == (3, "adam")
    assert search.best.fitness == max(experiment.fitness for experiment in search.experiments) > -1e-3
    assert not home.exists()  # without `project` no disk is touched


def test_run_of_a_script(home, script):
    script("train.py", TRAIN)
    project = studio.run("train.py", ["30"], hyperparams={"lr": "0.05:0.01:0.07"}, metric="val_loss:min", num_workers=3)
    assert isinstance(project, studio.Project)
    numbers = []
    for experiment in project.experiments:
        numbers.append(experiment.number)
        assert experiment.fitness == pytest.approx(-((experiment.values["lr"] - 0.0625) ** 2), abs=1e-7)
    assert numbers == [1, 2, 3]
    assert project.best.values == {"lr": 0.06}
    assert studio.Project(project.name).best == project.best
    assert (project.state, project.metric.mode) == ("done", "min")


# --- ask and tell -----------------------------------------------------------------------------------------------------


class Simplex(studio.Parameter):
    """Three shares that add up to 1."""

    dimensions = 3

    def __init__(self, name):
        self.name = name

    def from_unit(self, u):
        return np.array(u) / np.sum(u)

    def to_unit(self, value):
        return np.array(value)


class SimplexRanges:
    @studio.hookimpl
    def studio_parse_range(self, name, text):
        return Simplex(name) if text == "simplex" else None


def test_an_array_of_a_parser_of_its_own_reaches_the_script_as_a_file(script):
    script(
        "train.py",
        "import numpy\nfrom studio import fs_tracker\nprint('fitness:', numpy.load(fs_tracker.get_artifact('mix')).sum())\n",
    )
    host = studio.create_host(plugins=[SimplexRanges()])
    ranges = {"mix": "simplex"}
    project = studio.run("train.py", hyperparams=ranges, optimizer="random", max_experiments=2, seed=1, host=host)
    assert [round(experiment.fitness, 9) for experiment in project.experiments] == [1, 1]
    assert [len(experiment.values["mix"]) for experiment in project.experiments] == [3, 3]


# --- run --------------------------------------------------------------------------------------------------------------


class Interrupting(Observer):
    """Presses Ctrl-C when the first experiment has ended."""

    def finished(self, experiment, progress):
        if experiment.number == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_is_raised_and_resume_goes_on(home, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        studio.run("train.py", hyperparams={"lr": [1, 2, 3]}, project="digits", observer=Interrupting())
    assert signal.getsignal(signal.SIGINT) is before
    assert studio.Project("digits").state == "interrupted"
    project = studio.resume("digits")
    assert [experiment.fitness for experiment in project.experiments] == [1, 2, 3]


def test_run_takes_values_and_plugins_of_the_program(home, script):
    class Corners(studio.Optimizer):
        name = "corners"
        size = 2

        def __init__(self, space, *, seed, high: float = 1.0):
            self.space, self.points = space, iter([[0.0], [high]])

        def ask(self):
            point = next(self.points, None)
            self.done = point is None
            return None if point is None else self.space.suggestion(point)

        def tell(self, suggestion, fitness):
            pass

    class Plugin:
        @studio.hookimpl
        def studio_optimizers(self):
            return [Corners]

    script("train.py", "lr = n = 1\nprint('fitness:', lr * n)\n")
    project = studio.run(
        "train.py",
        hyperparams={"lr": "2:4", "n": 10},
        optimizer="corners",
        options={"high": 0.5},
        max_duration=30,
        host=studio.create_host(plugins=[Plugin()]),
    )
    assert [experiment.fitness for experiment in project.experiments] == [20, 30]


def test_run_in_a_thread(home, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    found = []
    thread = threading.Thread(target=lambda: found.append(studio.run("train.py", hyperparams={"lr": [1, 2]})))
    thread.start()
    thread.join(30)
    assert [experiment.fitness for experiment in found[0].experiments] == [1, 2]


def test_run_prints_nothing(home, script, capfd):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    studio.run("train.py", hyperparams={"lr": [1, 2]})
    assert capfd.readouterr() == ("", "")


# --- names ------------------------------------------------------------------------------------------------------------


def test_public_names():
    assert sorted(studio.__all__) == PUBLIC.split()
    assert set(dir(studio)) >= {*PUBLIC.split(), "__version__"}
    for name in studio.__all__:
        assert inspect.getdoc(getattr(studio, name)), f"{name} has no docstring"
    with pytest.raises(AttributeError, match="'studio' has no attribute 'Study'"):
        studio.Study  # noqa: B018


def test_typed():
    assert importlib.resources.files("studio").joinpath("py.typed").is_file()
    for function in (studio.run, studio.resume, studio.create_host, studio.Search.__init__, studio.Project.__init__):
        options = {studio.run: RunOptions, studio.resume: ResumeOptions}.get(function, object)
        hints = typing.get_type_hints(function) | typing.get_type_hints(options)
        assert set(inspect.signature(function).parameters) - {"self"} <= set(hints)
    assert typing.get_type_hints(studio.run)["return"] is studio.Project


def test_arguments_of_run_are_the_options_of_the_command(command):
    text = command("run", "--help").out
    others = {"script", "arguments", "hyperparams", "options", "module", "host", "observer", "progress"}
    for name in inspect.signature(studio.run).parameters.keys() - others:
        assert f"--{name.replace('_', '-')}" in text


# --- one project, several hands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param([(1, (2, 3)), (4, (5, 6))], id="nested"),
        pytest.param([np.float64(0.5), np.int64(3)], id="numpy"),
        pytest.param(np.array([0.25, 1.0]), id="array"),
    ],
)
def test_a_stored_search_of_values_goes_on(home, choices):
    def some(count):
        search = studio.Search({"k": choices, "x": "0:1"}, optimizer="random", seed=1, max_experiments=4, project="own")
        for _ in range(count):
            search.tell(search.ask(), 1.0)
        search.close()
        return [repr(experiment.values) for experiment in search.experiments]

    first = some(2)
    assert some(2)[:2] == first
    assert len(studio.Project("own").experiments) == 4


def test_values_that_a_project_cannot_keep_are_refused_before_it_is_made(home):
    with pytest.raises(BadInput, match="hyperparameter k: a project can store texts, numbers"):
        studio.Search({"k": [object(), 1]}, project="own")
    assert not (home / "projects" / "own").exists()


def test_threads_tell_one_search(home):
    search = studio.Search({"x": "0:1"}, optimizer="random", seed=1, max_experiments=40, project="own")
    errors = []

    def work():
        try:
            while (suggestion := search.ask()) is not None:
                search.tell(suggestion, suggestion.values["x"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    search.close()
    assert errors == []
    assert [e.status for e in studio.Project("own").experiments] == ["completed"] * 40


def test_a_search_whose_project_went_to_a_later_one_says_so(home):
    first = studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="own")
    suggestion = first.ask()
    second = studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="own")
    for call in (lambda: first.tell(suggestion, 1.0), first.ask):
        with pytest.raises(studio.StudioError, match="a later one in this program continues it") as caught:
            call()
        assert "doctor" not in str(caught.value)
    second.tell(second.ask(), 1.0)
    second.close()
