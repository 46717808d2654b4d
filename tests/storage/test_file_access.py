"""Whose files are believed, and how trouble with a file is told."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.another_user import give_away
from tokenkeep.storage import file_access
from tokenkeep.storage.data_directory import DataDirectory, DataDirectoryError
from tokenkeep.storage.file_access import NotTrusted, check_owner, explain, read_trusted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the user who runs this, which others may read."""
    made = tmp_path / "file"
    made.write_text("text")
    made.chmod(0o644)
    return made


def test_ones_own_file_is_believed(file: Path):
    """A file of the user who runs this is read, and so is one behind a link of theirs."""
    link = file.with_name("link")
    link.symlink_to(file)
    assert read_trusted(file) == read_trusted(link) == "text"


def test_what_root_has_put_there_is_believed():
    """What root has put there is as good as one's own."""
    check_owner(Path("/"))


def test_a_file_of_another_user_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch):
    """It is named with its owner, and with both ways out."""
    give_away(file, monkeypatch)
    for refuse in (check_owner, read_trusted):
        with pytest.raises(NotTrusted, match=rf"^{file} belongs to user \d+, .* run it as that user, .* chown "):
            refuse(file)


def test_a_file_that_is_exchanged_at_the_last_moment_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch):
    """What counts is the file that is read, and not the one that was there when it was looked at."""
    link = file.with_name("link")
    link.symlink_to("/etc/passwd")
    monkeypatch.setattr(file_access, "check_owner", lambda _: (link.unlink(), file.rename(link)))
    give_away(file, monkeypatch)
    with pytest.raises(NotTrusted):
        read_trusted(link)


def test_a_link_of_another_user_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever makes the link chooses the file, also among files that are believed."""
    link = file.with_name("link")
    link.symlink_to("/")
    give_away(link, monkeypatch)
    with pytest.raises(NotTrusted):
        check_owner(link)
    check_owner(Path("/"))


@pytest.mark.parametrize("bits", [0o664, 0o646, 0o602])
def test_a_file_that_others_may_write_is_not_believed(file: Path, bits: int):
    """The command that closes it is named."""
    file.chmod(bits)
    with pytest.raises(NotTrusted, match=f"{file} can be written by other users; close it with: chmod go-w {file}"):
        read_trusted(file)


@pytest.mark.parametrize("planted", [".", "secret", "tokenkeep.db"])
def test_a_planted_data_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str):
    """A directory, secret or database of another user is refused before anything is written beside it."""
    directory = DataDirectory(tmp_path / "data")
    directory.path.mkdir(mode=0o700)
    path = directory.path / planted
    if planted != ".":
        path.touch(0o600)
    give_away(path, monkeypatch)
    before = list(directory.path.iterdir())
    for refuse in (directory.create, directory.require, directory.check_closed):
        with pytest.raises(DataDirectoryError, match="belongs to user"):
            refuse()
    assert list(directory.path.iterdir()) == before


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.EACCES, "owner"),
        (errno.EROFS, "mount it"),
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "log of the system"),
    ],
)
def test_trouble_with_a_file_is_told_with_a_way_out(number: int, way_out: str):
    """What is wrong is said in one line, with what to do about it."""
    told = explain(Path("/data/secret"), "read", OSError(number, "It is so"))
    assert told.startswith("/data/secret cannot be read: It is so; ")
    assert way_out in told


def test_rare_trouble_is_told_as_it_is():
    """Where no way out is known, none is made up."""
    assert explain(Path("x"), "made", OSError(errno.EMLINK, "Too many links")) == "x cannot be made: Too many links"
