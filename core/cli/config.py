"""The file `studio.toml` with the options of a search, read by `studio run` without a script. The command line wins.

    script = "train.py"
    arguments = ["30"]
    optimizer = "auto"
    metric = "val_loss:min"

    [hyperparams]
    lr = "1e-5:0.1:l"

Keys are the options of `studio run`, with `-` or `_`, those of the backend among them; those that repeat are lists or tables.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studio.errors import BadInput
from studio.settings import OPTIONS, write_value
from studio.text import did_you_mean

FILE = "studio.toml"


def read_config(path: Path, flags: Iterable[str] = ()) -> tuple[str, list[str], dict[str, Any], dict[str, Any]]:
    """Return script, arguments, options by the keywords of `studio.run`, and those of backends by their `flags`, as typed.
    BadInput for what is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"there is no SCRIPT and no {FILE} here; write studio run train.py, or create the file: studio init train.py"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path.name} cannot be read: {error}") from error
    given: dict[str, Any] = {}
    placed: dict[str, Any] = {}
    keys = {_key_of(flag): (placed, flag) for flag in flags}
    keys |= {option.keyword: (given, option.keyword) for option in OPTIONS.values()}
    for key, value in data.items():
        name = key.replace("-", "_")
        if name in ("script", "arguments"):
            continue
        if name not in keys:
            raise BadInput(f"{path.name}: there is no option {key!r}{did_you_mean(name, keys)}")
        options, known = keys[name]
        options[known] = _as_typed(path.name, key, value)
    script, arguments = data.get("script"), data.get("arguments", [])
    if not isinstance(script, str) or not script:
        raise BadInput(f'{path.name} has no script; add a line script = "train.py"')
    if not isinstance(arguments, list):
        raise BadInput(f'{path.name}: arguments must be a list, such as ["--epochs", "3"]')
    return script, [str(argument) for argument in arguments], given, placed


def merged(config: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the file with those of the command line on top; hyperparameters are merged by name."""
    result = {**config, **typed}
    if "hyperparams" in config and "hyperparams" in typed:
        names = {text.partition("=")[0] for text in typed["hyperparams"]}
        kept = [text for text in config["hyperparams"] if text.partition("=")[0] not in names]
        result["hyperparams"] = [*kept, *typed["hyperparams"]]
    return result


def config_text(
    script: str, arguments: list[str], given: Mapping[str, Any], placed: Mapping[str, Any] | None = None
) -> str:
    """Return the text of a `studio.toml`; `placed`: options of its backend, by their flags."""
    import tomlkit

    document: dict[str, Any] = {"script": script, **({"arguments": arguments} if arguments else {})}
    pairs = [text.partition("=") for text in given.get("hyperparams", ())]
    document |= {name: value for name, value in given.items() if name != "hyperparams"}
    document |= {_key_of(flag): value for flag, value in (placed or {}).items()}
    if pairs:
        document["hyperparams"] = {name: text for name, _, text in pairs}
    return tomlkit.dumps(document)


def _as_typed(file: str, key: str, value: Any) -> Any:
    """Return a value as the command line would give it: texts, lists of texts, True."""
    if isinstance(value, dict):
        return [f"{name}={_text(inner)}" for name, inner in value.items()]
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return _text(value)
    raise BadInput(f"{file}: {key} = {value} is not a text, number or list")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(write_value(item) if isinstance(item, str) else _text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_of(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
