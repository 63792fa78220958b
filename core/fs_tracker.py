"""Paths of an experiment's files, for scripts. Works under Studio and when the script runs alone.

    from studio import fs_tracker

    lr = numpy.load(fs_tracker.get_artifact("lr"))      # an array hyperparameter, or a captured file
    writer = SummaryWriter(fs_tracker.get_tensorboard_dir())

Standard library only, any Python from 3.6 on: scripts import this file in their own interpreter. Alone, the folders are
`tb`, `modeldir` and `artifacts` in the current directory.
"""

import json
import os


def get_artifact(name):
    # type: (str) -> str
    """Return the path of artifact `name`; for an array hyperparameter, the path of its .npy file."""
    known = get_artifacts()
    if name in known:
        return known[name]
    if not name or os.path.isabs(name) or os.pardir in name.replace("\\", "/").split("/"):
        raise ValueError(f"{name!r} is not an artifact name")
    path = os.path.join(_folder(), "artifacts", name)
    return path if os.path.exists(path) or not os.path.exists(path + ".npy") else path + ".npy"


def get_artifacts():
    # type: () -> dict
    """Return name -> path of every artifact that Studio prepared for this experiment."""
    try:
        with open(os.path.join(_folder(), "artifacts.json")) as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {}


def get_tensorboard_dir():
    # type: () -> str
    """Return the folder for TensorBoard event files; created if needed."""
    return _made("tb")


def get_model_directory():
    # type: () -> str
    """Return the folder for checkpoints, which is kept; created if needed."""
    return _made("modeldir")


def get_experiment_key():
    # type: () -> str | None
    """Return PROJECT/NUMBER, or None if the script runs alone."""
    return os.environ.get("STUDIO_EXPERIMENT")


def _folder():
    # type: () -> str
    return os.environ.get("STUDIO_FOLDER") or os.getcwd()


def _made(name):
    # type: (str) -> str
    folder = os.path.join(_folder(), name)
    os.makedirs(folder, exist_ok=True)
    return folder
