"""List and end machines of clouds; set an account up for them."""

import re
import sys
import time
from typing import Annotated, Any

import typer

from studio.cli.console import print_json, print_table
from studio.cli.usage import new_app
from studio.errors import BadInput, StudioError
from studio.format import duration, money
from studio.text import clean, did_you_mean

app = new_app(no_args_is_help=True)

CLOUDS = "ec2, gcloud (gce), or a plugin's; ec2spot and gcspot are the same clouds"
GONE = 120.0  # seconds that machines have to be gone after they were asked to end

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def cloud() -> None:
    """List and end machines of clouds, and set an account up for them."""


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[CLOUD]", help=f"Only of that cloud: {CLOUDS}.")] = None,
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="Of EC2 not only those in which this computer made machines.")
    ] = False,
    json: Json = False,
) -> int:
    """List the machines that Studio made and that may still cost money, in all clouds that have credentials.

    Exit code 1 where a cloud or region that this computer used could not be looked at.
    """
    found, whole = _machines(name, everywhere=all_regions)
    if json:
        print_json([row.data for row in found])
    elif found:
        _print(found)
    else:
        _say(_none(whole))
    return 0 if whole else 1


@app.command()
def gc(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="Only machines of this project, by its name or tag.")
    ] = None,
    name: Annotated[str | None, typer.Option("--cloud", metavar="CLOUD", help=f"Only in that cloud: {CLOUDS}.")] = None,
    yes: Yes = False,
) -> int:
    """Find every machine that Studio made, in all clouds and regions that the credentials reach; ask; delete them.

    Running searches lose theirs, too, and order new ones. Exit code 1 where one may still be there, or where a cloud
    or region that this computer used could not be looked at.
    """
    rows, whole = _machines(name, everywhere=True)
    found = [row for row in rows if project is None or row.backend.is_of(row.machine, project)]
    if not found:
        _say(_none(whole) + _unknown(project))
        return 0 if _close_ports(name) and whole else 1
    _print(found)
    for name_here in _at_work(found):
        _say(f"the search {name_here} runs here and will replace its machines; to end both: studio stop {name_here}")
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("nothing was deleted: agree with --yes")
        if not typer.confirm(f"Delete {len(found)} machines?", err=True):
            raise BadInput("nothing was deleted")
    gone = _delete(found)
    return 0 if _close_ports(name) and gone and whole else 1


@app.command()
def setup(
    name: Annotated[str, typer.Argument(metavar="CLOUD", help=CLOUDS)],
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", metavar="NAME", help="Of the bucket. Default: one with the account's name."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show everything; make nothing.")] = False,
    yes: Yes = False,
) -> int:
    """Check credentials and permissions, show the least ones that are needed, and make a bucket and an account for machines.

    Each step is shown before it is done.
    """
    plan = _one(name).setup(bucket)
    for line in plan.checks():
        print(line)
    for title, text in plan.policies:
        print(f"\n{title}:\n{text}")
    for step in plan.steps:
        if step.is_done():
            print(f"\n{step.title}: is there")
            continue
        print(f"\n{step.title}:\n{step.text}")
        if dry_run:
            continue
        if not yes:
            if not sys.stdin.isatty():
                raise BadInput("nothing was made: agree with --yes, or look with --dry-run")
            if not typer.confirm("Do this?", err=True):
                raise BadInput(f"left out: {step.title}; what was made before stays")
        step.do()
    if not dry_run:
        plan.remember()
        print(f"\nready: studio run --cloud={name} --num-workers=4 … uses {plan.bucket}")
    return 0


# --- inside -----------------------------------------------------------------------------------------------------------


class _Row:
    """One machine, and the backend that knows its cloud."""

    def __init__(self, backend: Any, machine: Any, cost: float | None):
        self.backend, self.machine, self.cost = backend, machine, cost

    @property
    def data(self) -> dict[str, Any]:
        about = {name: value for name, value in vars(self.machine).items() if name != "launched"}
        return {"cloud": self.backend.cloud, **about, "age": self.age, "dollars": self.cost}

    @property
    def age(self) -> float:
        """Seconds; the cloud's clock and ours may differ by some."""
        return max(time.time() - self.machine.launched, 0.0)


def _backends(name: str | None) -> list[Any]:
    """That of the cloud of that name, or one for each cloud."""
    from studio.host import create_host

    if name is not None:
        return [_one(name)]
    found = {cls.cloud: cls for cls in reversed(_clouds(create_host()))}
    return [found[cloud] for cloud in sorted(found)]


def _clouds(host: Any) -> list[Any]:
    """The backends that are clouds."""
    from studio.backends.cloud.machines_backend import MachinesBackend

    return [piece.cls for piece in host.pieces("backend") if issubclass(piece.cls, MachinesBackend)]


def _one(name: str) -> Any:
    """By any of the names that `--cloud` takes."""
    from studio.host import create_host

    host = create_host()
    names = sorted({name for cls in _clouds(host) for name in (cls.name, *cls.aliases)})
    if name not in names:
        raise BadInput(f"{name!r} is no cloud; there are: {', '.join(names)}")
    return host.backend(name)


def _machines(name: str | None, *, everywhere: bool) -> tuple[list[_Row], bool]:
    """Those of the cloud of that name, or of all that can be asked, and whether all was looked at where this computer
    may have made some; what was not is said. StudioError if no cloud can be asked."""
    rows: list[_Row] = []
    whole, failed, asked = True, 0, 0
    for backend in _backends(name):
        try:
            machines, missed = backend.open_cloud(everywhere=everywhere).survey()
        except StudioError as error:
            _say(f"{backend.word()} was not looked at: {error}")
            failed += 1
            whole = whole and not backend.was_used()
            continue
        asked += 1
        for problem in missed:
            _say(f"{backend.word()} was not looked at everywhere: {problem}")
            whole = False
        costs = backend.costs(machines)
        machines.sort(key=lambda machine: (machine.project, machine.launched))
        rows += [_Row(backend, machine, costs.get(machine.name)) for machine in machines]
    if failed and not asked:
        raise StudioError("no cloud could be asked for its machines")
    return rows, whole


def _none(whole: bool) -> str:
    return "no machine is there" if whole else "no machine was found; not everything was looked at"


def _unknown(project: str | None) -> str:
    """A word on a name that may be mistyped. It may be of a project of another computer, too."""
    from studio.backends.queue.shipping import tag_of
    from studio.project.paths import project_names

    known = {tag_of(name) for name in project_names()}
    if project is None or {tag_of(project), tag_of(re.sub(r"-[0-9a-f]{6}$", "", project))} & known:
        return ""
    return f"; no project {project!r} is known here{did_you_mean(project, project_names())}"


def _at_work(rows: list[_Row]) -> list[str]:
    """Projects of those machines whose driver is alive on this computer."""
    from studio.project.lock import is_locked
    from studio.project.paths import project_folder, project_names

    ours = [name for name in project_names() if any(row.backend.is_of(row.machine, name) for row in rows)]
    return [name for name in ours if is_locked(project_folder(name))]


def _print(rows: list[_Row]) -> None:
    columns = ["cloud", "machine", "project", "type", "zone", "price", "state", "age", "cost so far"]
    cells = []
    for row in rows:
        machine, cost = row.machine, "not known" if row.cost is None else money(row.cost)
        kind = "spot" if machine.spot else "on demand"
        where = [machine.machine_type, machine.zone, kind, machine.state]
        names = [clean(machine.name or machine.id), clean(machine.project)]
        cells.append([row.backend.cloud, *names, *where, duration(row.age), cost])
    print_table(columns, cells)


def _delete(rows: list[_Row]) -> bool:
    """Whether all are gone, or on their way."""
    ok = True
    for backend in {row.backend for row in rows}:
        machines = [row.machine for row in rows if row.backend is backend]
        known, ids = backend.open_cloud(everywhere=True), {machine.id for machine in machines}
        end = time.monotonic() + GONE
        try:
            known.terminate(machines)
            while left := [each for each in known.survey()[0] if each.id in ids and each.state != "ending"]:
                if time.monotonic() > end:
                    break
                time.sleep(1.0)
        except StudioError as error:
            _say(f"{backend.word()}: {error}")
            left = machines
        ok = ok and not left
        names = ", ".join(clean(each.name or each.id) for each in left)
        _say(
            f"{backend.word()}: "
            + (f"may still be there: {names}" if left else f"{len(machines)} machines are deleted")
        )
    return ok


def _close_ports(name: str | None) -> bool:
    """What opened ports for machines that are gone. Whether none is left; a cloud that cannot be asked was named before."""
    ok = True
    for backend in _backends(name):
        if not backend.was_used():
            continue
        try:
            if left := backend.close_ports(backend.open_cloud(everywhere=True)):
                _say(f"{backend.word()}: {', '.join(left)} stays, as machines use it")
        except StudioError as error:
            _say(f"{backend.word()}: what opened ports may still be there, which costs nothing: {error}")
            ok = False
    return ok


def _say(text: str) -> None:
    print(f"studio: {clean(text)}", file=sys.stderr)
