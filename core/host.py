"""The plugin host: finds plugins, checks them, and answers by name. It has no global state.

    host = create_host()
    host.optimizer("cma")                       the class
    host.parse_range("lr", "1e-5:0.1:l", grid=False)

Hooks are called plugin by plugin, so that one that raises does not affect the others, and the distribution of every
item is known.
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import re
import sys
import time
import traceback
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pluggy

from studio import hookspecs
from studio.entry_points import EntryPoint, find_entry_points, normalised
from studio.errors import BadInput, PluginError, PluginFailed, RangeError, StudioError
from studio.experiment import FITNESS, Metric, Run
from studio.interfaces import Backend, BackendContext, MetricReader, Optimizer, Pruner
from studio.metric_sources import FirstOf
from studio.options import Field, fields_of, read_options
from studio.plugin_files import import_file, own_classes, own_optimizers
from studio.settings import Settings, is_optimizer_file, metric_file
from studio.space import Parameter
from studio.text import did_you_mean

# what plugins add by name: the kind, and the class that each is a subclass of
CLASSES: dict[str, type[Any]] = {"optimizer": Optimizer, "pruner": Pruner, "backend": Backend}
EXAMPLES = ("nevergrad", "optuna")  # optimizers that are plugins, shipped as examples


@dataclass(frozen=True)
class PluginItem:
    """A named item that a plugin adds."""

    kind: str  # "optimizer", "pruner", "backend", "range parser" or "metric extractor"
    name: str
    distribution: str
    version: str
    cls: Any = None


@dataclass(frozen=True)
class PluginProblem:
    """A plugin that is disabled, with the last line of its traceback."""

    plugin: str
    distribution: str
    message: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} of {self.distribution} is left out: {self.message}"


def create_host(*, entry_points: bool = True, plugins: Collection[Any] = ()) -> "Host":
    """Return a host with the installed plugins, and with `plugins`: modules or objects with hook implementations."""
    disabled = {name.strip() for name in os.environ.get("STUDIO_DISABLE_PLUGINS", "").split(",")}
    disabled |= {normalised(name) for name in disabled}
    host = Host()
    for point in find_entry_points(hookspecs.PROJECT) if entry_points else ():
        if point.name not in disabled and point.distribution not in disabled:
            host.load_entry_point(point)
    for plugin in plugins:
        host.register(plugin, getattr(plugin, "__name__", type(plugin).__name__), "this program", "")
    return host


class _Manager(pluggy.PluginManager):
    """A manager that asks pluggy only about what may be a hook: to look at all else in the modules takes 8 ms at each start."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if isinstance(plugin, types.ModuleType):
            found = vars(plugin).get(name)
            if isinstance(found, types.FunctionType) and f"{hookspecs.PROJECT}_impl" not in vars(found):
                return None
            if not isinstance(found, (types.FunctionType, types.MethodType, staticmethod, classmethod)):
                return None
        return super().parse_hookimpl_opts(plugin, name)


class Host:
    def __init__(self) -> None:
        self.problems: list[PluginProblem] = []
        self.import_seconds: dict[str, float] = {}
        self._manager = _Manager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._files: dict[str, type[Optimizer]] = {}
        self._metric_files: dict[str, types.ModuleType] = {}
        self._origins: dict[int, tuple[str, str, str]] = {}  # id of a plugin -> its name, distribution, version

    # --- finding ----------------------------------------------------------------------------------------------------

    def load_entry_point(self, point: EntryPoint) -> None:
        begun = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for data
                plugin = functools.reduce(
                    getattr, filter(None, [point.attribute]), importlib.import_module(point.module)
                )
        except (Exception, SystemExit) as error:
            self._disable(point.name, point.distribution, error)
            return
        finally:
            self.import_seconds[point.name] = time.perf_counter() - begun
        self.register(plugin, point.name, point.distribution, point.version)

    def load_file(self, path: str) -> type[Optimizer]:
        """Return the one optimizer of a file: from its hook implementations if it has any, else its only subclass."""
        if path in self._files:
            return self._files[path]
        plugin = import_file(path)
        found = own_optimizers(plugin, Path(path).stem)
        if any(self._manager.parse_hookimpl_opts(plugin, name) for name in dir(plugin)):
            problems = len(self.problems)
            self.register(plugin, path, path, "")
            found = [piece.cls for piece in self.items("optimizer") if piece.distribution == path]
            if len(self.problems) > problems:
                raise PluginError(f"optimizer file {path}: {self.problems[-1].message}")
        if len(found) != 1:
            names = ", ".join(cls.__name__ for cls in found) or "none"
            raise PluginError(
                f"optimizer file {path} must define one subclass of studio.Optimizer with ask and tell; found: {names}"
            )
        if not hasattr(found[0], "name"):
            found[0].name = Path(path).stem
        self._files[path] = found[0]
        return found[0]

    def register(self, plugin: Any, name: str, distribution: str, version: str) -> None:
        """Add the hook implementations of `plugin`, or record why it is disabled."""
        try:
            if self._manager.is_registered(plugin):
                return
            self._check_names(plugin)
            self._manager.register(plugin, name=f"{distribution}:{name}:{id(plugin)}")
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self._disable(name, distribution, error)
        else:
            self._origins[id(plugin)] = (name, distribution, version)

    def _check_names(self, plugin: Any) -> None:
        """Raise ValueError for an unknown hook, as pluggy's `check_pending` does, but for this plugin alone, unregistered."""
        known = [name for name in vars(hookspecs) if name.startswith("studio_")]
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if (
                options is not None
                and (options.get("specname") or name) not in known
                and not options.get("optionalhook")
            ):
                raise ValueError(f"unknown hook {name!r}{did_you_mean(name, known)}")

    def _disable(self, name: str, distribution: str, error: BaseException) -> None:
        message = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
        problem = PluginProblem(name, distribution, message)
        if problem not in self.problems:
            self.problems.append(problem)

    # --- named pieces -----------------------------------------------------------------------------------------------

    def items(self, kind: str | None = None) -> list[PluginItem]:
        """Return all items that the plugins add, of one kind or of every kind."""
        result = []
        for named in CLASSES:
            hook = f"studio_{named}s"
            if kind in (None, named):
                for plugin, classes in self._call_each(hook):
                    result += self._named_pieces(named, plugin, hook, classes)
        for hook, unnamed in (("studio_parse_range", "range parser"), ("studio_open_metric", "metric extractor")):
            if kind in (None, unnamed):
                for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                    name, distribution, version = self._origins[id(implementation.plugin)]
                    result.append(PluginItem(unnamed, name, distribution, version, implementation.function))
        return result

    def _named_pieces(self, kind: str, plugin: Any, hook: str, classes: Any) -> list[PluginItem]:
        """Return the items of a hook's answer if it is a list of named classes of that kind, else disable the plugin."""
        name, distribution, version = self._origins[id(plugin)]
        base = CLASSES[kind]
        try:
            pieces = [
                PluginItem(kind, cls.name, distribution, version, cls) for cls in classes or () if issubclass(cls, base)
            ]
            if len(pieces) != len(classes or ()):
                raise TypeError(f"{classes!r} contains a class that is not a studio.{base.__name__}")
        except (TypeError, AttributeError) as error:
            problem = TypeError(f"{hook} must return a list of classes with a `name`: {error}")
            self._disable(name, distribution, problem)
            return []
        return pieces

    def optimizer(self, name: str) -> type[Optimizer]:
        """Return the optimizer called `name`, or the one in the file with that path."""
        if is_optimizer_file(name):
            return self.load_file(name)
        found: type[Optimizer] = self._one("optimizer", name)
        return found

    def pruner(self, name: str) -> type[Pruner]:
        found: type[Pruner] = self._one("pruner", name)
        return found

    def backend(self, name: str) -> type[Backend]:
        found: type[Backend] = self._one("backend", name)
        return found

    def make_backend(
        self,
        settings: Settings,
        *,
        slots: int,
        source: Path,
        notify: Callable[[str], None],
        cls: type[Backend] | None = None,
    ) -> Backend:
        """Return the backend that `settings` name, or `cls`, with its options; nothing is asked or started yet."""
        cls = cls or self.backend(settings.backend)
        options = read_backend_options(cls, settings.backend_options)
        context = BackendContext(settings, slots, source, self, notify)
        with plugin_call(cls, "its constructor"):
            return cls(options, context)

    def backend_flags(self) -> dict[str, tuple[Field, list[str]]]:
        """Return the options of all backends: flag -> the field of the first backend that has it, and their names."""
        flags: dict[str, tuple[Field, list[str]]] = {}
        for piece in self.items("backend"):
            for field in backend_fields(piece.cls).values():
                flags.setdefault(field.flag, (field, []))[1].append(piece.name)
        return flags

    def _one(self, kind: str, name: str) -> Any:
        pieces = self.items(kind)
        found = [piece for piece in pieces if name == piece.name or name in getattr(piece.cls, "aliases", ())]
        if len(found) > 1:
            owners = " and ".join(sorted(piece.distribution for piece in found))
            raise PluginError(f"{kind} {name!r} is added by {owners}: uninstall one, or set STUDIO_DISABLE_PLUGINS")
        if found:
            return found[0].cls
        broken = [problem for problem in self.problems if name in (problem.plugin, problem.distribution)]
        if broken:
            raise PluginError(f"{kind} {name!r} cannot be used: {broken[0]}")
        hint = did_you_mean(name, [piece.name for piece in pieces], _meant(kind, name, pieces))
        left_out = "".join(f" ({problem})" for problem in self.problems)
        example = f" (or install the plugin in examples/plugins/studio-{name})" if name in EXAMPLES else ""
        raise PluginError(f"there is no {kind} {name!r}{left_out}{hint}{example}")

    # --- questions --------------------------------------------------------------------------------------------------

    def parse_range(self, name: str, text: str, *, grid: bool) -> Parameter:
        try:
            for _, parameter in self._call_each("studio_parse_range", name=name, text=text, grid=grid):
                if parameter is not None:
                    return parameter
        except BadInput:
            raise
        except StudioError as error:  # raised on purpose by a plugin: the typed range is wrong
            raise RangeError(str(error)) from error
        raise RangeError(f"hyperparameter {name}={text}: no range parser takes it; `studio plugins` lists them")

    def open_metric(self, metric: Metric, run: Run) -> MetricReader | None:
        """Return a reader of `metric`, or None. For a name without a prefix it combines all plugins that read the name."""
        if metric_file(metric.name) is not None:
            return self._open_metric_of_file(metric, run)
        readers: list[MetricReader] = []
        for _, reader in self._call_each("studio_open_metric", metric=metric, run=run):
            if reader is not None:
                readers.append(reader)
                if ":" in metric.name or metric.name == FITNESS.name:
                    break
        return FirstOf(readers) if len(readers) > 1 else readers[0] if readers else None

    def _open_metric_of_file(self, metric: Metric, run: Run) -> MetricReader:
        """A reader by the file in `FILE:NAME`, in the snapshot of the run: its hook's, or its one subclass of MetricReader
        as `Mine(NAME, run)`."""
        file, _, name = metric.name.partition(":")
        path = os.path.join(run.snapshot, file)
        if path not in self._metric_files:
            self._metric_files[path] = import_file(path, "metric")
        module = self._metric_files[path]
        if any(self._manager.parse_hookimpl_opts(module, each) for each in dir(module)):
            alone = pluggy.PluginManager(hookspecs.PROJECT)
            alone.add_hookspecs(hookspecs)
            alone.register(module)
            with plugin_call(module, "studio_open_metric"):
                answers = alone.hook.studio_open_metric(metric=dataclasses.replace(metric, name=name), run=run)
            if not answers:
                raise PluginError(f"metric file {file} reads no metric {name!r}: its studio_open_metric returned None")
            return cast(MetricReader, answers[0])
        found = own_classes(module, MetricReader)
        if len(found) != 1:
            names = ", ".join(cls.__name__ for cls in found) or "none"
            raise PluginError(
                f"metric file {file} must hold one subclass of studio.MetricReader with read; found: {names}"
            )
        with plugin_call(found[0], "its constructor"):
            return cast(Any, found[0])(name, run)

    def _call_each(self, hook: str, **arguments: Any) -> Iterator[tuple[Any, Any]]:
        """Yield each plugin with its answer, in pluggy's order; a plugin that raises is recorded and skipped."""
        caller = getattr(self._manager.hook, hook)
        for implementation in reversed(caller.get_hookimpls()):
            try:
                answer = implementation.function(*(arguments[name] for name in implementation.argnames))
            except StudioError:
                raise
            except Exception as error:
                name, distribution, _ = self._origins[id(implementation.plugin)]
                self._disable(name, distribution, error)
                continue
            yield implementation.plugin, answer


def _meant(kind: str, name: str, pieces: Sequence[PluginItem]) -> list[str]:
    """Return names of pieces close to `name`: the same in another case or spelling, and a file of the user's."""
    asked = _spelled(name)
    words = {piece.name: (piece.name, *piece.cls.aliases, *piece.cls.related) for piece in pieces}
    found = [piece for piece, known in words.items() if asked in map(_spelled, known)]
    is_file = kind == "optimizer" and os.path.isfile(f"{name}.py")
    return [*found, f"./{name}.py"] if is_file else found


def _spelled(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def backend_fields(backend: type[Backend]) -> dict[str, Field]:
    """Return the options of a backend, by the name of the field."""
    prefix = backend.Options.prefix
    return fields_of(backend.Options, backend.name if prefix is None else prefix)


def read_backend_options(backend: type[Backend], given: Mapping[str, Any]) -> Any:
    """Return the `Options` of a backend, from texts or values. BadInput for an unknown or a missing option."""
    fields = backend_fields(backend)
    values = read_options(fields, given, f"backend {backend.name}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in values:
            behind = f"write --backend={backend.name}:{field.option.metavar}"
            how = behind if name == backend.Options.after_colon else f"give {field.flag}"
            raise BadInput(f"backend {backend.name} needs {field.option.metavar}: {how}")
    return backend.Options(**values)


@contextlib.contextmanager
def plugin_call(piece: object, doing: str) -> Iterator[None]:
    """Turn an exception inside a plugin's method into one line that names the plugin and the place."""
    try:
        yield
    except StudioError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(piece) if not isinstance(piece, type) else piece
        message = traceback.format_exception_only(error)[-1].strip()
        raise PluginFailed(
            f"{getattr(kind, 'name', kind.__name__)} failed in {doing}: {message} ({frame.filename}:{frame.lineno})"
        ) from error
