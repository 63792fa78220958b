"""An optimizer or a metric in a file of the user's: its import, and the classes that it defines itself."""

import contextlib
import hashlib
import importlib.util
import inspect
import sys
import traceback
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from studio import studioml
from studio.errors import PluginError
from studio.interfaces import Optimizer


def own_optimizers(module: types.ModuleType, name: str) -> list[type[Optimizer]]:
    """Return the optimizer classes that a file defines itself, including classes for StudioML."""
    adapted = [studioml.adapt(cls, name) for cls in _classes(module) if studioml.is_studioml_optimizer(cls)]
    return own_classes(module, Optimizer) + adapted


def own_classes(module: types.ModuleType, base: type) -> list[Any]:
    """The subclasses of `base` that a file defines itself, but for abstract ones."""
    return [cls for cls in _classes(module) if issubclass(cls, base) and not inspect.isabstract(cls)]


def _classes(module: types.ModuleType) -> list[type]:
    return [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]


class _Loader(SourceFileLoader):
    """Compile the file each time: bytecode counts as fresh after an edit of the same second that keeps the size."""

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def import_file(path: str, kind: str = "optimizer") -> types.ModuleType:
    """Import the file as a module of a package of its own, so that `import beside` and `from . import beside` both work."""
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise PluginError(f"{kind} file {path!r} does not exist")
    package = "_studio_file_" + hashlib.sha256(str(file.parent).encode()).hexdigest()[:12]
    if package not in sys.modules:
        parent = types.ModuleType(package)
        parent.__path__ = [str(file.parent)]
        sys.modules[package] = parent
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    name = f"{package}.{file.stem}"
    if file.suffix != ".py":
        raise PluginError(f"{kind} file {path!r} is not a Python file; its name must end in .py")
    loader = _Loader(name, str(file))
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{kind} file {path}: {_where(error, file)}") from error
    return module


def _where(error: BaseException, file: Path) -> str:
    """Return `line 7: NameError: …`, with the deepest line inside `file`."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    message = traceback.format_exception_only(error)[-1].strip()
    return f"line {lines[-1]}: {message}" if lines else message
