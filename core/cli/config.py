"""The file `studio.toml` with the options of a search. `studio run` reads it if no script is typed.

    script = "train.py"
    arguments = ["30"]
    optimizer = "auto"
    metric = "val_loss:min"

    [hyperparams]
    lr = "1e-5:0.1:l"

Keys are the options of `studio run` and of the backend, with `-` or `_`. Options that can be repeated are lists or tables.
Options on the command line replace those of the file.
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
    """Return script, arguments, options of the search by keyword of `studio.run`, and options of the backend by their `flags`.

    Values are texts, as on the command line. BadInput if the file cannot be read or has an unknown option.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"no SCRIPT was given, and there is no {FILE} here; type studio run train.py, or write the file with studio init train.py"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path.name} cannot be read: {error}") from error
    search_options: dict[str, Any] = {}
    flag_values: dict[str, Any] = {}
    keys = {_key_of(flag): (flag_values, flag) for flag in flags}
    keys |= {option.keyword: (search_options, option.keyword) for option in OPTIONS.values()}
    for key, value in data.items():
        name = key.replace("-", "_")
        if name in ("script", "arguments"):
            continue
        if name not in keys:
            raise BadInput(f"{path.name}: there is no option {key!r}{did_you_mean(name, keys)}")
        options, option = keys[name]
        options[option] = _as_typed(path.name, key, value)
    script, arguments = data.get("script"), data.get("arguments", [])
    if not isinstance(script, str) or not script:
        raise BadInput(f'{path.name} has no script; add a line script = "train.py"')
    if not isinstance(arguments, list):
        raise BadInput(f'{path.name}: arguments must be a list, such as ["--epochs", "3"]')
    return script, [str(argument) for argument in arguments], search_options, flag_values


def merged(config: Mapping[str, Any], command_line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the file, replaced by those of the command line. Hyperparameters are replaced one by one."""
    result = {**config, **command_line}
    if "hyperparams" in config and "hyperparams" in command_line:
        names = {text.partition("=")[0] for text in command_line["hyperparams"]}
        unchanged = [text for text in config["hyperparams"] if text.partition("=")[0] not in names]
        result["hyperparams"] = [*unchanged, *command_line["hyperparams"]]
    return result


def config_text(
    script: str, arguments: list[str], search_options: Mapping[str, Any], flag_values: Mapping[str, Any] | None = None
) -> str:
    """Return the text of a `studio.toml`. `flag_values` are options of the backend, by flag."""
    import tomlkit

    document: dict[str, Any] = {"script": script, **({"arguments": arguments} if arguments else {})}
    pairs = [text.partition("=") for text in search_options.get("hyperparams", ())]
    document |= {name: value for name, value in search_options.items() if name != "hyperparams"}
    document |= {_key_of(flag): value for flag, value in (flag_values or {}).items()}
    if pairs:
        document["hyperparams"] = {name: text for name, _, text in pairs}
    return tomlkit.dumps(document)


def _as_typed(file: str, key: str, value: Any) -> Any:
    """Return a value of the file as it would be on the command line: a text, a list of texts, or True."""
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
