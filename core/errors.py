"""Every exception of Studio. An error that the user can fix is a `BadInput`; its text says how.

StudioError                 exit code 1
├── BadInput                exit code 2: something the user gave, quoted, with what to type instead
│   ├── RangeError          the text after `name=`
│   ├── SubstitutionError   a script into which the values cannot be written
│   ├── PluginError         a plugin that was asked for is unknown, broken, ambiguous or given wrong options
│   └── ProjectError        a project that exists, does not exist, or has an impossible name
├── PluginFailed            a plugin raised during the search; the record stays complete
├── Stalled                 the optimizer asks for results although nothing is running
├── ReplayError             a resumed optimizer suggests other values than the journal has
├── StoreError              the project's database cannot be read or written
└── EndSearch               a backend cannot continue; running experiments are stopped, and `studio resume` continues

`Interrupted` is a KeyboardInterrupt, not a StudioError.
"""


class Interrupted(KeyboardInterrupt):
    """An orderly end of a search by Ctrl-C: the project of that name is complete on disk and can be resumed."""

    def __init__(self, project: str):
        super().__init__(project)
        self.project = project


class StudioError(Exception):
    """Base of all errors that Studio raises on purpose. Their text is one line for a person; `lines` may follow it."""

    exit_code = 1
    lines: tuple[str, ...] = ()


class BadInput(StudioError):
    exit_code = 2


class RangeError(BadInput):
    """`instead`: the range to write in its place, where it is one of the other grammar."""

    def __init__(self, text: str, instead: str = ""):
        super().__init__(text)
        self.instead = instead


class SubstitutionError(BadInput):
    def __init__(self, text: str, lines: tuple[str, ...] = ()):
        super().__init__(text)
        self.lines = lines


class PluginError(BadInput):
    pass


class ProjectError(BadInput):
    pass


class PluginFailed(StudioError):
    pass


class Stalled(StudioError):
    pass


class ReplayError(StudioError):
    pass


class StoreError(StudioError):
    pass


class EndSearch(StudioError):
    """Raised by `Backend.poll` to end the search as if the user had stopped it. The text says why.

    ending  the state of the project: "stopped", "cost" if a cost limit is reached, or "failed"
    """

    def __init__(self, reason: str, ending: str = "stopped"):
        super().__init__(reason)
        self.ending = ending
