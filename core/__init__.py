"""Studio: hyperparameter search for unmodified scripts.

    import studio

    search = studio.Search({"lr": "1e-5:0.1:l", "layers": "1:8:i"}, optimizer="cma", seed=1, max_experiments=200)
    for suggestion in search:
        search.tell(suggestion, fitness(**suggestion.values))
    search.best.values

    project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

Every public name is loaded when it is first used: scripts import `studio.fs_tracker` in a millisecond.
"""

import importlib

TYPE_CHECKING = False  # `typing` takes longer to import than scripts wait for
if TYPE_CHECKING:  # the same names as below, for type checkers and editors
    from studio import fs_tracker as fs_tracker
    from studio.errors import BadInput as BadInput
    from studio.errors import EndSearch as EndSearch
    from studio.errors import RangeError as RangeError
    from studio.errors import StudioError as StudioError
    from studio.execution.runner import Runner as Runner
    from studio.experiment import Experiment as Experiment
    from studio.experiment import Metric as Metric
    from studio.experiment import Outcome as Outcome
    from studio.experiment import Report as Report
    from studio.experiment import Resources as Resources
    from studio.experiment import Run as Run
    from studio.hookspecs import hookimpl as hookimpl
    from studio.host import create_host as create_host
    from studio.interfaces import Backend as Backend
    from studio.interfaces import BackendContext as BackendContext
    from studio.interfaces import Estimate as Estimate
    from studio.interfaces import MetricReader as MetricReader
    from studio.interfaces import Optimizer as Optimizer
    from studio.interfaces import Pruner as Pruner
    from studio.interfaces import StoppedRun as StoppedRun
    from studio.options import option as option
    from studio.project.project import Project as Project
    from studio.search.ask_tell.search import Search as Search
    from studio.search.resume import resume as resume
    from studio.search.run import run as run
    from studio.space import Array as Array
    from studio.space import Choice as Choice
    from studio.space import Constant as Constant
    from studio.space import Integer as Integer
    from studio.space import Parameter as Parameter
    from studio.space import Real as Real
    from studio.space import Space as Space
    from studio.space import Suggestion as Suggestion
    from studio.system.processes import kill_tree as kill_tree
    from studio.system.tail import Lines as Lines

__version__ = "0.1.0"

_HOMES = {
    "Search": "search.ask_tell.search",
    "run": "search.run",
    "resume": "search.resume",
    "Project": "project.project",
    "Space": "space",
    "Suggestion": "space",
    "Parameter": "space",
    "Real": "space",
    "Integer": "space",
    "Choice": "space",
    "Array": "space",
    "Constant": "space",
    "Experiment": "experiment",
    "Run": "experiment",
    "Outcome": "experiment",
    "Report": "experiment",
    "Metric": "experiment",
    "Resources": "experiment",
    "Optimizer": "interfaces",
    "Pruner": "interfaces",
    "StoppedRun": "interfaces",
    "Backend": "interfaces",
    "BackendContext": "interfaces",
    "Estimate": "interfaces",
    "MetricReader": "interfaces",
    "option": "options",
    "hookimpl": "hookspecs",
    "create_host": "host",
    "Runner": "execution.runner",
    "Lines": "system.tail",
    "kill_tree": "system.processes",
    "StudioError": "errors",
    "BadInput": "errors",
    "RangeError": "errors",
    "EndSearch": "errors",
}
__all__ = sorted([*_HOMES, "fs_tracker"])


if not TYPE_CHECKING:  # else every name would exist

    def __getattr__(name: str) -> object:
        if name == "fs_tracker":
            return importlib.import_module("studio.fs_tracker")
        if name not in _HOMES:
            raise AttributeError(f"module 'studio' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"studio.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
