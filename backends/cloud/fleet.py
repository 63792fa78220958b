"""Keep as many machines alive as a search needs, and leave none at its end.

    wanted ──► launch (`ordering`) ──► alive ──► gone ──► another one
                └ never took a job: barren; two in a row, and the search ends;
                  six for spot machines, which may only have been preempted

A machine counts as alive from before it is ordered until the cloud's list no longer has it, and has not for a while:
lists are late, and one may be stale. So there are never too many, and `close` knows every machine to look for, whatever
was interrupted.
"""

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from studio.backends.cloud.cloud import Cloud, CloudCredentials, CloudDenied, CloudError, Machine
from studio.backends.cloud.ledger import Ledger
from studio.backends.cloud.ordering import Member, NoMachines, Ordering, Terms
from studio.backends.cloud.spending import Rate, committed, spent
from studio.backends.queue.pool import Pool
from studio.errors import StudioError
from studio.format import money

BREAKER = 2  # machines in a row that ran no experiment, after which no more are launched
TAKEN = 6  # the same for spot machines without an error: preempted, or they cannot write to the bucket
FAILED = re.compile(r"studio: the end, with exit code (?!(0|143)\b)")  # in a boot log; 143: a signal ended it
UNINSTALLED = (
    "a package cannot be installed there: correct requirements.txt, pyproject.toml or --python-pkg, and start the search "
    "anew;"
)
SILENT = 1200.0  # seconds in which a machine has to install everything and report
LIST_LAG = 90.0  # seconds by which a list may be late, see `Fleet`
PATIENCE = 1800.0  # seconds without any machine after which the search is given up
CLOSING, REFUSED = 300.0, 30.0  # seconds to end all; seconds to keep asking a cloud that refuses
AGAIN = 20.0  # seconds until the request to end a machine is repeated


class CostReached(StudioError):
    """--max-cost does not pay for another machine."""


class Fleet(Pool):
    """Machines of a search. Call `maintain` every few seconds, from one thread; `close` ends all.

    boot_log  returns the last lines that the machine of that name wrote, or ""
    say       tells the user of problems; from any thread
    clock     monotonic seconds
    wall      seconds since the epoch, of this computer, for the ledger; never compared with the cloud's
    together  orders sent at the same time
    list_lag  seconds in which the cloud's list may miss a new machine
    """

    def __init__(
        self,
        cloud: Cloud,
        terms: Terms,
        ledger: Ledger,
        *,
        boot_log: Callable[[str], str] = lambda name: "",
        say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        together: int = 1,
        list_lag: float = LIST_LAG,
    ):
        super().__init__(say)
        self._cloud, self._terms, self._ledger = cloud, terms, ledger
        self._boot_log, self._say, self._clock, self._wall, self._sleep = boot_log, say, clock, wall, sleep
        self._list_lag = list_lag
        self._members: dict[str, Member] = {}
        self._lost: dict[str, Member] = {}  # missing from the list, but not known to have ended
        how = {"tell": self._say_once, "clock": clock, "wall": wall, "sleep": sleep}
        self._ordering = Ordering(cloud, terms, ledger, self._members, together=together, **how)  # type: ignore[arg-type]
        self._barren: list[str] = []
        self._taken: list[str] = []
        self._last_alive = clock()
        self._trouble: CloudError | None = None  # error of the last requests
        for name in ledger.alive:  # machines of an earlier session: the first list tells which remain
            entry = ledger.get(name)
            assert entry is not None
            begun, ends = self._on_clock(entry.begun), self._on_clock(entry.ends)
            self._members[name] = Member(name, begun, ends, begun)

    # --- one look ---------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> list[str]:
        """Names of machines that exist, or may."""
        return self._ordering.alive()

    @property
    def spent(self) -> float:
        """Dollars in all sessions of this search."""
        return spent(self._ledger.spells, self._wall())

    def maintain(self, needed: int, *, waiting: bool = True) -> None:
        """Look at the machines, and launch what is missing of `needed`. `waiting`: some job has no worker.

        Raises NoMachines and CostReached if the search cannot continue.
        """
        if self._ordering.stopped.is_set() or not self._look(waiting):
            return
        self._check_breaker()
        self._end_some()
        cap = self._terms.max_cost
        if cap is not None and self.spent >= cap * 0.999:
            raise CostReached(f"--max-cost: the machines have cost {money(self.spent)} of {money(cap)}")
        self._ordering.launch(needed)
        made = any(member.machine is not None and not member.out for member in list(self._members.values()))
        if made or needed <= 0:
            self._last_alive = self._clock()
        else:
            self._check_hope()

    def _look(self, waiting: bool) -> bool:
        """Update the members from the cloud's list; return whether the cloud gave one."""
        now = self._clock()
        try:
            listed = {machine.name: machine for machine in self._cloud.machines(self._terms.project)}
        except CloudError as error:
            self._trouble = error
            self._say_once(f"cannot list the machines, retrying: {error}")
            return False
        for name, machine in listed.items():
            member = self._members.get(name) or self._adopt(machine)
            member.machine, member.listed, member.seen, member.unsure = machine, now, True, False
            self._mark(member)
            if machine.state == "ending":
                self._leaves(member, waiting)
        self._ledger.listed(listed, self._wall())
        for member in list(self._members.values()):
            if member.name in listed or member.unsure:
                continue
            ends = member.dismissed or (member.machine is not None and member.machine.state == "ending")
            if ends or now - member.listed > self._list_lag or self._failed_to_start(member):
                self._mark(member)
                self._leaves(member, waiting)
                self._ledger.ended([member.name], self._wall())
                del self._members[member.name]
                if not ends and member.machine is not None:
                    self._lost[member.name] = member
        return True

    def _failed_to_start(self, member: Member) -> bool:
        """Return whether the boot log of a machine missing from the list says that it ended."""
        if member.greeted or member.worked or member.name in self._reported:
            return False
        return not self._ordering.stopped.is_set() and FAILED.search(self._boot_log(member.name)) is not None

    def _mark(self, member: Member) -> None:
        if member.name in self._at_work and not member.worked:
            member.worked = True
            self._barren.clear()
            self._taken.clear()
        member.greeted |= member.worked or member.name in self._reported

    def _adopt(self, machine: Machine) -> Member:
        """Add a machine of an earlier session of this search."""
        now, known, terms = self._clock(), self._ledger.get(machine.name), self._terms
        ends = now + terms.lifetime if known is None else self._on_clock(known.ends)
        member = self._members[machine.name] = Member(machine.name, now, ends, now)
        with contextlib.suppress(OSError):  # the machine exists, whether this can be written or not
            if known is None:
                same = [offer for offer in terms.offers if offer.machine_type == machine.machine_type]
                rate = terms.rate((same or list(terms.offers))[0]) if terms.offers else Rate(None, None)
                about = machine.machine_type, machine.zone, machine.spot
                self._ordering.enter(machine.name, *about, rate, terms.lifetime)
            elif known.ended is not None:  # the list was wrong
                self._ledger.note(replace(known, ended=None))
        return member

    def _on_clock(self, at: float) -> float:
        """Convert a time of the ledger to the fleet's clock."""
        return self._clock() + at - self._wall()

    def _leaves(self, member: Member, waiting: bool) -> None:
        """Stop counting a machine that is ending or gone."""
        ours = member.order is not None and member.machine is not None and not member.out and not member.dismissed
        if ours and not member.worked and (waiting or not member.greeted):
            assert member.order is not None
            failed = FAILED.search(log := self._boot_log(member.name))
            if failed:
                self._say_once(f"{member.name} failed while it started: {_last_words(log)}")
            blameless = member.order.spot and not failed
            (self._taken if blameless else self._barren).append(member.name)
        member.out = True

    def _check_breaker(self) -> None:
        found = next(
            (some for some, most in ((self._barren, BREAKER), (self._taken, TAKEN)) if len(some) >= most), None
        )
        if found is None:
            return
        name = found[-1]
        log = self._boot_log(name).strip()
        last = (
            f"the last lines of {name}: {log}"
            if log
            else f"{name} left no log; check that its account can write to the bucket"
        )
        advice = f"{UNINSTALLED} " if "studio: a package was not installed" in log else ""
        raise NoMachines(
            f"{len(found)} machines in a row failed before they ran an experiment; no more will be started; {advice}{last}"
        )

    def _check_hope(self) -> None:
        """Raise if there is no machine, except those whose order got no response, and none is to be expected."""
        if not self.alive:
            self._ordering.check_hope()
            if self._ordering.broke:
                raise CostReached(f"--max-cost: {self._left()}")
        if self._clock() - self._last_alive > PATIENCE:
            raise NoMachines(
                f"no machine was available for {PATIENCE / 60:.0f} minutes; try another --machine-type or region"
            )

    def _left(self) -> str:
        cap, most = self._terms.max_cost, committed(self._ledger.spells, self._wall())
        spot = f" (up to {money(most)}, if prices rose)" if most > self.spent * 1.01 else ""
        return f"{money(self.spent)} of {money(cap)} is spent{spot}; the rest does not pay for another machine"

    # --- ending machines --------------------------------------------------------------------------------------------

    def _end_some(self) -> None:
        """End machines that hang, that never reported, that outlived their lifetime, that stopped without ending, and those
        beyond the number wanted.
        """
        now = self._clock()
        wrong: list[Member] = []
        mutes: list[Member] = []
        for member in self._members.values():
            mute = member.order is not None and not member.greeted and now - member.since > SILENT
            if member.name in self._silent:
                self._say_once(f"{member.name} stopped responding while running an experiment; replacing it")
            elif mute and not member.out:
                self._say_once(f"{member.name} has not reported for {SILENT / 60:.0f} minutes; ending it")
                mutes.append(member)
            elif not member.out and now <= member.ends + LIST_LAG:
                continue
            wrong.append(member)
        inside = [member for member in self._members.values() if not member.out and member not in wrong]
        inside.sort(key=lambda member: (member.worked, member.greeted, -member.since))
        extra = [member for member in inside if member.machine is not None][: max(len(inside) - self._terms.most, 0)]
        for member in extra:
            self._say_once(f"{member.name} is no longer needed; ending it")
        self._end([*wrong, *extra])
        self._barren += [member.name for member in mutes if member.dismissed]  # else it still exists, and counts

    def _end(self, members: Sequence[Member]) -> bool:
        """Ask the machines to end, unless they were asked a moment ago. Return whether the cloud accepted all requests."""
        now = self._clock()
        due = [m for m in members if m.machine is not None and (m.asked is None or now - m.asked >= AGAIN)]
        if not due:
            return True
        try:
            self._cloud.terminate([member.machine for member in due if member.machine is not None])
        except CloudError as error:
            self._trouble = error
            self._say_once(f"cannot end machines, retrying: {error}")
            return False
        for member in due:
            member.asked, member.dismissed, member.out = now, True, True
        return True

    def interrupt(self) -> None:
        """Send no more orders. From any thread."""
        self._ordering.stopped.set()

    def close(self) -> bool:
        """End all machines of this search, also those whose orders got no response. Return whether all are known to have ended."""
        self.interrupt()
        begun, refused = self._clock(), None
        for name, member in self._lost.items():  # the list may have been wrong; ending one that has ended is no error
            self._members.setdefault(name, member)
        self._lost.clear()
        while True:
            self._trouble = None
            self._ordering.settle()
            certain = self._end([member for member in self._members.values() if member.machine is not None])
            certain &= self._look(waiting=False)
            here = [member for member in self._members.values() if member.machine is not None]
            left = [m for m in here if m.asked is None or (m.seen and m.machine and m.machine.state != "ending")]
            unsure = len(here) < len(self._members)
            waited = self._clock() - begun
            if certain and not left and (not unsure or waited >= self._list_lag):
                self._ledger.ended(self._ledger.alive, self._wall())
                return True
            hopeless = isinstance(self._trouble, CloudCredentials | CloudDenied)
            refused = (waited if refused is None else refused) if hopeless else None
            if waited >= (CLOSING if refused is None else min(refused + REFUSED, CLOSING)):
                names = ", ".join(member.name for member in self._members.values())
                self._say(
                    f"could not confirm that these machines ended: {names}. They end by themselves; check with: studio cloud gc"
                )
                return False
            self._sleep(min(0.5 + waited, 2.0))


def _last_words(log: str) -> str:
    """Return the last lines of a boot log before its end: what failed, and in which step."""
    lines = [line for line in log.split(" | ") if not FAILED.search(line)]
    return " | ".join(lines[-2:]) or log
