"""A project on disk, read-only, for programs, the CLI and the dashboard."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.experiment import Experiment, Metric
from studio.project.lock import is_locked
from studio.project.paths import FIRST_SNAPSHOT, existing_project_folder, project_names
from studio.project.records import read_attempts, read_experiments, read_meta, read_session, reading
from studio.project.summary import read_best, state_of, summarize
from studio.project.table import data_frame, described, notebook_html
from studio.settings import parse_metric, sign_of


class Project:
    """The record of one search.

        project = studio.Project("digits")
        for experiment in project.experiments: ...
        project.best.values

    Every property reads the record again, so that a running project can be followed.
    """

    def __init__(self, name: str):
        self.name = name
        self.folder = existing_project_folder(name)

    def __repr__(self) -> str:
        try:
            return described("Project", self.name, self.state, self.experiments)
        except (StudioError, OSError) as error:  # a repr is for whoever looks for what is wrong, too
            return f"<Project {self.name!r}: {error}>"

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments, in order of number; array values as lists."""
        return self._read(None)

    def experiment(self, number: int) -> Experiment | None:
        return next(iter(self.chosen([number])), None)

    def chosen(self, numbers: Sequence[int]) -> list[Experiment]:
        """Return the experiments with these numbers, in this order, without those that do not exist."""
        found = {experiment.number: experiment for experiment in self._read(numbers)}
        return [found[number] for number in numbers if number in found]

    def _read(self, numbers: Sequence[int] | None) -> list[Experiment]:
        at_work = is_locked(self.folder)
        with reading(self.folder) as connection:
            found = read_experiments(connection, self.folder, self.metric, numbers)
            return [experiment if at_work else _without_driver(experiment) for experiment in found]

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """Return all attempts of experiment `number`, JSON-able: status, times, exit code, signal, reason, failure class."""
        with reading(self.folder) as connection:
            return read_attempts(connection, number)

    @property
    def best(self) -> Experiment | None:
        """The experiment with the largest fitness, the first of equals; None if no experiment has one."""
        with reading(self.folder) as connection:
            return read_best(connection, self.folder, self.metric)

    @property
    def baseline(self) -> Experiment | None:
        """The experiment with the script's own values; None where the search did not begin with them."""
        own = self._meta("baseline")
        return None if own is None else next((one for one in self.experiments if one.values == own), None)

    @property
    def recommended(self) -> Experiment | None:
        """The best experiment, for noisy results, by the mean of the optimizer's model, at the end of the last session."""
        number = self._meta("recommended")
        return None if number is None else self.experiment(number)

    @property
    def best_values(self) -> dict[str, Any] | None:
        """The values of the best experiment; None while there is none."""
        best = self.best
        return None if best is None else best.values

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the search was started with, as a dict of the fields of `studio.settings.Settings`."""
        return self._meta("settings") or {}

    @property
    def source(self) -> Path:
        """The user's folder that the search was started in."""
        return Path((self._meta("source") or {"folder": self.folder / FIRST_SNAPSHOT})["folder"])

    @property
    def metric(self) -> Metric:
        return parse_metric(self.settings.get("metric"))

    @property
    def sign(self) -> float:
        """Sign that turns the metric into a fitness: fitness = sign * metric."""
        return sign_of(self.settings.get("direction"), self.metric)

    @property
    def seed(self) -> int | None:
        seed: int | None = self._meta("seed")
        return seed

    @property
    def state(self) -> str:
        """State of the search.

        `running`, `paused`, or how the last session ended: done, time, exhausted, failures, disk, no-room, cost, stopped, failed;
        `interrupted`, also if its driver was killed; `incomplete` if a program's own loop ended early.
        """
        at_work = is_locked(self.folder)
        with reading(self.folder) as connection:
            return state_of(at_work, read_meta(connection, "settings"), read_session(connection))

    def summary(self) -> dict[str, Any]:
        """Return a summary of the project, JSON-able, with the keys of `studio runs list --json`."""
        return summarize(self.folder).as_dict()

    def to_dataframe(self) -> Any:
        """Return a pandas.DataFrame, one row per experiment: number, status, hyperparameters, metric, fitness, times, reason.

        Arrays are lists. Raises BadInput if pandas is not installed.
        """
        return data_frame(self.experiments, self.metric)

    def _repr_html_(self) -> str:
        """Return the project's summary for a notebook."""
        return notebook_html(self.name, self.state, self.experiments, self.metric)

    def _meta(self, key: str) -> Any:
        with reading(self.folder) as connection:
            return read_meta(connection, key)


def _without_driver(experiment: Experiment) -> Experiment:
    """Return `experiment`, without a driver: one recorded as running was interrupted, and runs again on resume."""
    return replace(experiment, status="stopped", reason="interrupted") if experiment.status == "running" else experiment


def all_projects() -> list[Project]:
    return [Project(name) for name in project_names()]
