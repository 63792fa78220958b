"""Studio: hyperparameter search for scripts that nobody changed.

    import studio

    search = studio.Search({"lr": "1e-5:0.1:l", "layers": "1:8:i"}, optimizer="cma", seed=1, max_experiments=200)
    for suggestion in search:
        search.tell(suggestion, fitness(**suggestion.values))
    search.best.values

    project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

Every public name is loaded when it is first used: scripts import `studio.fs_tracker` in a millisecond.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Search": "search.search",
    "run": "search.run",
    "resume": "search.run",
    "Space": "space",
    "Parameter": "space",
    "Suggestion": "space",
    "Experiment": "experiment",
    "Run": "experiment",
    "Outcome": "experiment",
    "Report": "experiment",
    "Project": "project.project",
    "Optimizer": "interfaces",
    "Backend": "interfaces",
    "MetricReader": "interfaces",
    "hookimpl": "hookspecs",
    "create_host": "host",
    "StudioError": "errors",
}
__all__ = sorted([*_HOMES, "fs_tracker"])


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
