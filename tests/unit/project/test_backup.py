"""core/project/backup.py: when a backup is made, and what becomes of one that cannot be."""

import shutil
import stat

import pytest

from studio.errors import ProjectError, StoreError
from studio.project.backup import EVERY, Backups, examine_backup, restore
from studio.project.paths import backup, database
from studio.project.records import read_events, reading
from studio.project.store import Store


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    one = Store.create(tmp_path, {"script": "train.py"})
    yield one
    one.close()


def told(store, *numbers):
    for number in numbers:
        store.ask(number, {"x": number}, None)
        store.tell(number, float(number))


def test_the_first_is_made_at_once_and_the_next_a_minute_later(store, clock):
    backups = Backups(store, clock)
    assert backups.write_if_due() == ""
    assert examine_backup(store.folder).told == frozenset()
    told(store, 1, 2)
    clock.now += EVERY - 1
    backups.write_if_due()
    assert examine_backup(store.folder).told == frozenset()
    clock.now += 1
    backups.write_if_due()
    held = examine_backup(store.folder)
    assert (held.told, held.last_event) == ({1, 2}, store.last_event())
    assert stat.S_IMODE(backup(store.folder).stat().st_mode) == 0o600


def test_without_news_the_backup_stays(store, clock):
    """A resume that has nothing to do replaces no good backup by a copy of what was damaged since."""
    told(store, 1)
    Backups(store, clock).write_last()
    store._connection.execute("UPDATE events SET fitness = 99")
    before = backup(store.folder).read_bytes()
    backups = Backups(store, clock)
    assert (backups.write_if_due(), backups.write_last()) == ("", "")
    assert backup(store.folder).read_bytes() == before


def test_a_damaged_record_replaces_no_backup(store):
    told(store, *range(1, 200))
    Backups(store).write_last()
    before = backup(store.folder).read_bytes()
    told(store, 200)
    store.close()
    size = database(store.folder).stat().st_size
    with open(database(store.folder), "r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 4))
    again = Store.open(store.folder)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        Backups(again).write_last()
    again.close()
    assert backup(store.folder).read_bytes() == before


def test_a_backup_is_one_file_that_no_reader_changes(store):
    told(store, 1)
    Backups(store).write_last()
    before = backup(store.folder).read_bytes()
    examine_backup(store.folder)
    assert backup(store.folder).read_bytes() == before
    names = {path.name for path in store.folder.glob("studio.*")}
    assert names == {"studio.db", "studio.db-wal", "studio.db-shm", "studio.db.backup"}


def test_one_that_cannot_be_written_is_said_once_until_one_can(store, clock):
    backups = Backups(store, clock)
    blocker = backup(store.folder).with_suffix(".part")
    blocker.mkdir()  # stands where the new one is made
    assert backups.write_last().startswith("no backup of the record could be written: ")
    assert backups.write_last() == ""
    blocker.rmdir()
    assert backups.write_last() == ""
    blocker.mkdir()
    assert "no backup of the record could be written" in backups.write_last()


def test_a_record_that_ends_before_its_backup_is_refused(store):
    told(store, 1)
    shutil.copy(database(store.folder), store.folder / "early")
    early = store.last_event()
    told(store, 2)
    Backups(store).write_last()
    store._connection.execute("DELETE FROM events WHERE id > ?", (early,))
    with pytest.raises(StoreError, match=r"is older than its backup.*studio doctor .* --restore"):
        Backups(store)


def test_a_later_driver_keeps_its_backup(store):
    told(store, 1)
    backups = Backups(store)
    backups.write_last()
    before = backup(store.folder).read_bytes()
    told(store, 2)
    store._connection.execute("UPDATE meta SET value = '99' WHERE key = 'fence'")
    with pytest.raises(StoreError, match="another process runs project"):
        backups.write_last()
    assert backup(store.folder).read_bytes() == before


def test_restore_keeps_what_was_there(store):
    told(store, 1, 2)
    Backups(store).write_last()
    store.close()
    database(store.folder).write_bytes(b"no database")
    assert restore(store.folder).told == {1, 2}
    with reading(store.folder) as connection:
        assert [event.kind for event in read_events(connection)] == ["ask", "tell"] * 2
    assert (store.folder / "studio.db.before-1").read_bytes() == b"no database"


def test_without_a_backup_nothing_is_restored(store):
    store.close()
    with pytest.raises(ProjectError, match="has no backup of its record"):
        restore(store.folder)
