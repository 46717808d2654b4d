"""The data directory and what is kept in it beside the database: the server secret, the lock, the high-water mark."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.settable_clock import SettableClock
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.history import MarkUnavailable, Position
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.storage import high_water_mark
from tokenkeep.storage.data_directory import DataDirectory, DataDirectoryError
from tokenkeep.storage.durable_file import replace_durably
from tokenkeep.storage.high_water_mark import FileMark, MemoryMark


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A process whose new files would be open to everyone."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    """A data directory that has been made."""
    made = DataDirectory(tmp_path / "data")
    made.create()
    return made


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("no_umask")
def test_the_directory_is_closed_to_others_and_to_git(tmp_path: Path):
    """It is made with its parents, 0700 whatever the umask says, and nothing in it is ever committed by accident."""
    directory = DataDirectory(tmp_path / "some" / "where" / "data")
    directory.create()
    assert mode(directory.path) == 0o700
    assert (directory.path / ".gitignore").read_text() == "*\n"
    directory.create()


def test_a_relative_path_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The directory is known by its absolute path, which later changes of the working directory do not move."""
    monkeypatch.chdir(tmp_path)
    assert DataDirectory(Path("data")).path == tmp_path / "data"


@pytest.mark.parametrize("bits", [0o750, 0o701, 0o720, 0o777])
def test_a_directory_that_is_open_to_others_is_refused(directory: DataDirectory, bits: int):
    """The refusal names the directory and the command that closes it, and nothing is written into it before that."""
    (directory.path / ".gitignore").unlink()
    directory.path.chmod(bits)
    for refuse in (directory.create, directory.require, directory.check_closed):
        with pytest.raises(DataDirectoryError, match=f"chmod 700 {directory.path}"):
            refuse()
    assert list(directory.path.iterdir()) == []
    directory.path.chmod(0o700)
    directory.create()


@pytest.mark.parametrize("name", ["secret", "tokenkeep.db"])
def test_a_file_that_is_open_to_others_is_refused(directory: DataDirectory, name: str):
    """A secret or database that others may read is refused, with the command that closes it."""
    file = directory.path / name
    file.write_text("x")
    file.chmod(0o640)
    with pytest.raises(DataDirectoryError, match=f"chmod 600 {file}"):
        directory.create()


def test_only_serving_makes_a_directory(tmp_path: Path, directory: DataDirectory):
    """A command asks for a directory that is there, and says how to get one; it makes none."""
    missing = DataDirectory(tmp_path / "elsewhere")
    with pytest.raises(DataDirectoryError, match="tokenkeep serve"):
        missing.require()
    assert not missing.path.exists()
    directory.require()


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path):
    """Something else of that name is said to be in the way."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataDirectoryError, match="is not a directory"):
        DataDirectory(tmp_path / "data").create()
    with pytest.raises(DataDirectoryError, match="is not a directory"):
        DataDirectory(tmp_path / "data").require()


@pytest.mark.usefixtures("no_umask")
def test_the_secret_is_made_once_and_kept(directory: DataDirectory):
    """The generated secret is 32 random bytes, readable by its owner only, and the same ever after."""
    assert directory.read_secret() is None
    secret = directory.create_secret(directory.database)
    assert len(secret) == 43
    assert mode(directory.secret) == 0o600
    assert directory.read_secret() == secret == DataDirectory(directory.path).read_secret()
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "secret"}
    another = DataDirectory(directory.path.parent / "another")
    another.create()
    assert another.create_secret(another.database) != secret


def test_no_new_secret_is_made_for_a_database_that_has_lost_its_own(directory: DataDirectory):
    """With a database and no secret, the refusal tells to put the secret back; nothing is made."""
    directory.database.touch(0o600)
    with pytest.raises(DataDirectoryError, match="put the secret back"):
        directory.create_secret(directory.database)
    assert directory.read_secret() is None


def test_a_secret_that_cannot_be_read_is_refused(directory: DataDirectory):
    """What is not text is refused without showing it."""
    directory.secret.write_bytes(b"\xff\xfecanary\xff")
    with pytest.raises(DataDirectoryError) as caught:
        directory.read_secret()
    assert "canary" not in str(caught.value)


def test_one_process_serves_a_directory_at_a_time(directory: DataDirectory):
    """A second one is refused with what to do, until the first lets go."""
    second = DataDirectory(directory.path)
    directory.lock()
    for _ in range(2):
        with pytest.raises(DataDirectoryError, match="another server process uses"):
            second.lock()
    directory.unlock()
    second.lock()
    second.unlock()
    second.unlock()


def test_a_worker_keeps_other_servers_away(directory: DataDirectory):
    """While a worker of a killed server lives no other one starts; workers do not keep each other away."""
    workers = [DataDirectory(directory.path) for _ in range(2)]
    for worker in workers:
        worker.lock_for_worker()
    server = DataDirectory(directory.path)
    for worker in workers:
        with pytest.raises(DataDirectoryError, match="another server process uses"):
            server.lock()
        worker.unlock()
    server.lock()
    workers[0].lock_for_worker()
    workers[0].unlock()
    server.unlock()


def test_the_mark_is_what_was_written_last(directory: DataDirectory):
    """There is no mark at first; one that was written is read by every process, and replaced as a whole."""
    mark = FileMark(directory.mark)
    assert mark.read() is None
    for position in (Position("first", 0), Position("first", 2**53), Position('ünï " {', 1)):
        mark.write(position)
        assert FileMark(directory.mark).read() == position
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "high-water-mark", "high-water-mark.lock"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"epoch":"e"}', b"\xff", b'{"epoch":1,"number":"x"}']
)
def test_a_mark_that_cannot_be_read_is_refused(directory: DataDirectory, content: bytes):
    """A damaged mark is neither ignored nor a crash: the refusal names the file; it can be replaced."""
    directory.mark.write_bytes(content)
    with pytest.raises(MarkUnavailable, match=directory.mark.name):
        FileMark(directory.mark).read()
    FileMark(directory.mark).write(Position("first", 3))
    assert FileMark(directory.mark).read() == Position("first", 3)


def test_the_mark_moves_forward_only(directory: DataDirectory):
    """Within an epoch a later mark is never replaced by an earlier one, since several processes write it."""
    FileMark(directory.mark).write(Position("first", 7))
    FileMark(directory.mark).write(Position("first", 6))
    assert FileMark(directory.mark).read() == Position("first", 7)
    FileMark(directory.mark).write(Position("second", 0))
    assert FileMark(directory.mark).read() == Position("second", 0)


def test_a_slow_writer_does_not_move_the_mark_back(directory: DataDirectory, monkeypatch: pytest.MonkeyPatch):
    """Who has looked at the mark and not written yet keeps others waiting, so that the later mark is the last."""
    later = threading.Thread(target=FileMark(directory.mark).write, args=(Position("first", 7),))

    def dawdle(path: Path, text: str) -> None:
        monkeypatch.undo()
        later.start()
        later.join(0.5)
        replace_durably(path, text)

    monkeypatch.setattr(high_water_mark, "replace_durably", dawdle)
    FileMark(directory.mark).write(Position("first", 5))
    later.join()
    assert FileMark(directory.mark).read() == Position("first", 7)


def test_many_writers_leave_the_latest_mark(directory: DataDirectory):
    """Writers at the same time neither disturb each other nor lose the latest mark, and leave nothing behind."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: FileMark(directory.mark).write(Position("first", number % 97)), range(400)))
    assert FileMark(directory.mark).read() == Position("first", 96)
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "high-water-mark", "high-water-mark.lock"}


def test_many_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path):
    """A file that several processes replace at the same time is always one of their texts, whole."""
    file = tmp_path / "file"
    texts = [str(number) * 1000 for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda turn: replace_durably(file, texts[turn % 8]), range(200)))
    assert file.read_text() in texts
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk does not take the new content, the old one is there and nothing else."""
    file = tmp_path / "file"
    replace_durably(file, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        replace_durably(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_mark_without_a_place_lasts_as_long_as_its_process():
    """Where there is no directory, the mark is kept in memory."""
    mark = MemoryMark()
    assert mark.read() is None
    mark.write(Position("first", 3))
    assert mark.read() == Position("first", 3)


async def test_a_server_that_ends_in_good_order_leaves_its_mark(settings: Settings, clock: SettableClock):
    """What was revoked a moment before the end is in the mark, so that a backup from before it is noticed."""
    mark = FileMark(settings.data_dir / "high-water-mark")
    async with AuthServer(settings, clock=clock) as server:
        await server.accounts.create("Ada", "correct-horse-battery", role="user", actor=OPERATOR)
        started = mark.read()
        await server.accounts.disable("Ada", actor=OPERATOR)
    assert started is not None
    assert mark.read() == Position(started.epoch, started.number + 1)
