"""List and end cloud machines; set up an account."""

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
GONE = 120.0  # seconds in which machines have to end after a request

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@app.callback()
def cloud() -> None:
    """List and end cloud machines, and set up an account."""


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="[CLOUD]", help=f"Only machines of this cloud: {CLOUDS}.")
    ] = None,
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="List all EC2 regions, not only those used from this computer.")
    ] = False,
    json: Json = False,
) -> int:
    """List the machines that Studio made and that may still cost money, in all clouds with credentials.

    Exit code 1 if a cloud or region used from this computer could not be checked.
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
    name: Annotated[
        str | None, typer.Option("--cloud", metavar="CLOUD", help=f"Only machines of this cloud: {CLOUDS}.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Find every machine that Studio made, in all clouds and regions with credentials, and delete them after asking.

    This includes machines of running searches, which then order new ones. Exit code 1 if a machine may remain, or if
    a cloud or region used from this computer could not be checked.
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
            raise BadInput("nothing was deleted: confirm with --yes")
        if not typer.confirm(f"Delete {len(found)} machines?", err=True):
            raise BadInput("nothing was deleted")
    gone = _delete(found)
    return 0 if _close_ports(name) and gone and whole else 1


@app.command()
def setup(
    name: Annotated[str, typer.Argument(metavar="CLOUD", help=CLOUDS)],
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", metavar="NAME", help="Name of the bucket. Default: derived from the account."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show everything; change nothing.")] = False,
    template: Annotated[
        bool,
        typer.Option("--template", help="Print a CloudFormation template or gcloud script that does the same."),
    ] = False,
    yes: Yes = False,
) -> int:
    """Check credentials, show the permissions needed, and make a bucket and an account for machines.

    Each step is shown before it is done; what exists is compared, and corrected.
    """
    plan = _one(name).setup(bucket)
    if template:
        print(plan.template)
        return 0
    for line in plan.checks():
        print(line)
    for title, text in plan.policies:
        print(f"\n{title}:\n{text}")
    for step in plan.steps:
        if step.is_done():
            print(f"\n{step.title}: done already")
            continue
        print(f"\n{step.title}:\n{step.text}")
        if dry_run:
            continue
        if not yes:
            if not sys.stdin.isatty():
                raise BadInput("nothing was made: confirm with --yes, or look with --dry-run")
            if not typer.confirm("Do this?", err=True):
                raise BadInput(f"skipped: {step.title}; the steps before it are kept")
        step.do()
    if not dry_run:
        plan.remember()
        print(f"\nready: studio run --cloud={name} --num-workers=4 … uses {plan.bucket}")
    return 0


# --- inside -----------------------------------------------------------------------------------------------------------


class _Row:
    """A machine, and the backend of its cloud."""

    def __init__(self, backend: Any, machine: Any, cost: float | None):
        self.backend, self.machine, self.cost = backend, machine, cost

    @property
    def data(self) -> dict[str, Any]:
        about = {name: value for name, value in vars(self.machine).items() if name != "launched"}
        return {"cloud": self.backend.cloud, **about, "age": self.age, "dollars": self.cost}

    @property
    def age(self) -> float:
        """Age in seconds; the cloud's clock and this computer's may differ."""
        return max(time.time() - self.machine.launched, 0.0)


def _backends(name: str | None) -> list[Any]:
    """Return the backend of the cloud of that name, or one for each cloud."""
    from studio.host import create_host

    if name is not None:
        return [_one(name)]
    found = {cls.cloud: cls for cls in reversed(_clouds(create_host()))}
    return [found[cloud] for cloud in sorted(found)]


def _clouds(host: Any) -> list[Any]:
    """Return the backends that are clouds."""
    from studio.backends.cloud.machines_backend import MachinesBackend

    return [piece.cls for piece in host.items("backend") if issubclass(piece.cls, MachinesBackend)]


def _one(name: str) -> Any:
    """Return the backend with this name or alias. Raises BadInput."""
    from studio.host import create_host

    host = create_host()
    names = sorted({name for cls in _clouds(host) for name in (cls.name, *cls.aliases)})
    if name not in names:
        raise BadInput(f"{name!r} is not a cloud; choose from: {', '.join(names)}")
    return host.backend(name)


def _machines(name: str | None, *, everywhere: bool) -> tuple[list[_Row], bool]:
    """Return the machines of the cloud of that name, or of all clouds, and whether every cloud and region used from this
    computer was checked; the user is told of the others. Raises StudioError if no cloud can be asked.
    """
    rows: list[_Row] = []
    whole, failed, asked = True, 0, 0
    for backend in _backends(name):
        try:
            machines, missed = backend.open_cloud(everywhere=everywhere).survey()
        except StudioError as error:
            _say(f"{backend.word()} could not be checked: {error}")
            failed += 1
            whole = whole and not backend.was_used()
            continue
        asked += 1
        for problem in missed:
            _say(f"{backend.word()} could not be checked everywhere: {problem}")
            whole = False
        costs = backend.costs(machines)
        machines.sort(key=lambda machine: (machine.project, machine.launched))
        rows += [_Row(backend, machine, costs.get(machine.name)) for machine in machines]
    if failed and not asked:
        raise StudioError("no cloud could be checked")
    return rows, whole


def _none(whole: bool) -> str:
    return "no machines found" if whole else "no machines found; not every cloud could be checked"


def _unknown(project: str | None) -> str:
    """Return a remark on a name that may be mistyped, or "". It may also be a project of another computer."""
    from studio.backends.queue.shipping import tag_of
    from studio.project.paths import project_names

    known = {tag_of(name) for name in project_names()}
    if project is None or {tag_of(project), tag_of(re.sub(r"-[0-9a-f]{6}$", "", project))} & known:
        return ""
    return f"; no project {project!r} on this computer{did_you_mean(project, project_names())}"


def _at_work(rows: list[_Row]) -> list[str]:
    """Return the projects of these machines whose driver runs on this computer."""
    from studio.project.lock import is_locked
    from studio.project.paths import project_folder, project_names

    ours = [name for name in project_names() if any(row.backend.is_of(row.machine, name) for row in rows)]
    return [name for name in ours if is_locked(project_folder(name))]


def _print(rows: list[_Row]) -> None:
    columns = ["cloud", "machine", "project", "type", "zone", "price", "state", "age", "cost so far"]
    cells = []
    for row in rows:
        machine, cost = row.machine, "unknown" if row.cost is None else money(row.cost)
        kind = "spot" if machine.spot else "on demand"
        where = [machine.machine_type, machine.zone, kind, machine.state]
        names = [clean(machine.name or machine.id), clean(machine.project)]
        cells.append([row.backend.cloud, *names, *where, duration(row.age), cost])
    print_table(columns, cells)


def _delete(rows: list[_Row]) -> bool:
    """Delete the machines, and return whether all have ended or are ending."""
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
        _say(f"{backend.word()}: " + (f"may remain: {names}" if left else f"deleted {len(machines)} machines"))
    return ok


def _close_ports(name: str | None) -> bool:
    """Delete the rules that opened ports for machines, and return whether none is left. The user was told before of a
    cloud that cannot be asked.
    """
    ok = True
    for backend in _backends(name):
        if not backend.was_used():
            continue
        try:
            if left := backend.close_ports(backend.open_cloud(everywhere=True)):
                _say(f"{backend.word()}: kept {', '.join(left)}: machines use it")
        except StudioError as error:
            _say(f"{backend.word()}: rules for open ports may remain, which costs nothing: {error}")
            ok = False
    return ok


def _say(text: str) -> None:
    print(f"studio: {clean(text)}", file=sys.stderr)
