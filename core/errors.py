"""Every exception of Studio. What the user can mend is a `BadInput`; its text says how.

StudioError                 exit code 1
├── BadInput                exit code 2: something the user gave, quoted, with what to type instead
│   ├── RangeError          the text after `name=`
│   ├── SubstitutionError   a script that cannot take the values
│   ├── PluginError         a plugin that was asked for is unknown, broken, ambiguous or given wrong options
│   └── ProjectError        a project that exists, does not exist, or has an impossible name
├── PluginFailed            a plugin raised in mid-search; the record stays whole
├── Stalled                 the optimizer asks for results although nothing is running
├── ReplayError             a resumed optimizer asks for something else than the journal says
├── StoreError              the project's database cannot be read or written
└── EndSearch               a backend cannot go on; what runs is stopped, and `studio resume` goes on

`Interrupted` is a KeyboardInterrupt and none of these.
"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a search, in order: the project of that name is safe on disk and can be resumed."""

    def __init__(self, project: str):
        super().__init__(project)
        self.project = project


class StudioError(Exception):
    """Base of all errors that Studio raises on purpose. Its text is one line for a person; `lines` may follow it."""

    exit_code = 1
    lines: tuple[str, ...] = ()


class BadInput(StudioError):
    exit_code = 2


class RangeError(BadInput):
    pass


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
    """Raised by `Backend.poll`: the search ends, as if somebody had stopped it. Its text says why.

    ending  the state of the project: "stopped", "cost" where a limit of money is reached, or "failed"
    """

    def __init__(self, reason: str, ending: str = "stopped"):
        super().__init__(reason)
        self.ending = ending
