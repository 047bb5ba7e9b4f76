"""The inbox folder on the local disk and in memory: looks, copies, and moves that lose nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from resources.adapters.inbox import InboxFolder, open_inbox
from resources.core.config import load_settings
from resources.core.errors import UsageError
from resources.core.inbox import FileChanged, InboxAway, SeenFile, put_away_name
from tests.support.inboxes import READ_ONLY, Inbox
from tests.support.requirements import missing
from tests.support.time import NOW

TAKEN = put_away_name("a.csv", NOW)
WRITER = "import sys; f = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"


@pytest.fixture(params=["disk", "memory"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "in" if request.param == "disk" else None)


@pytest.fixture
def disk(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "in")


def _seen(inbox: Inbox, name: str = "a.csv") -> SeenFile:
    return inbox.folder.look()[inbox.address(name)]


def test_only_files_directly_in_the_inbox_that_may_be_lists_are_seen(inbox: Inbox) -> None:
    for name in ("a.csv", "b.xlsx", "c", ".hidden", "d.csv.part", "~$b.xlsx"):
        inbox.drop(name)
    for folder in ("taken", "set-aside", "more"):
        inbox.fs.makedirs(inbox.address(folder), exist_ok=True)
        inbox.drop(f"{folder}/e.csv")
    seen = inbox.folder.look()
    assert sorted(one.name for one in seen.values()) == ["a.csv", "b.xlsx", "c"]
    assert {one.size_bytes for one in seen.values()} == {20}


def test_an_empty_or_missing_inbox_has_no_files(inbox: Inbox) -> None:
    assert inbox.folder.look() == {}
    inbox.fs.rm(inbox.root, recursive=True)
    assert inbox.folder.look() == {}


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    folder = open_inbox(load_settings(home=tmp_path / "home"))
    assert folder.look() == {}
    assert (tmp_path / "home" / "inbox").is_dir()


def test_a_stamp_changes_with_each_write_and_with_nothing_else(inbox: Inbox) -> None:
    inbox.drop("a.csv", "one")
    first = _seen(inbox).stamp
    assert _seen(inbox).stamp == first
    inbox.append("a.csv", "x")
    second = _seen(inbox).stamp
    assert second != first


def test_a_file_replaced_by_one_of_the_same_size_has_another_stamp(inbox: Inbox) -> None:
    inbox.drop("a.csv", "one")
    before = _seen(inbox).stamp
    inbox.remove("a.csv")
    inbox.drop("other", "for the inode")
    inbox.drop("a.csv", "two")
    assert _seen(inbox).stamp != before


def test_names_that_other_programs_take_for_patterns_or_addresses_are_plain_names(
    inbox: Inbox, tmp_path: Path
) -> None:
    names = ["list[1].csv", "a*.csv", "what?.csv", "a b #1%.csv", "s3:x.csv", "株.csv", "-rf"]
    for name in [*names, "list1.csv", "ab.csv"]:
        inbox.drop(name, f"domain\n{name}\n")
    for name in names:
        seen = _seen(inbox, name)
        inbox.folder.fetch(seen, tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == f"domain\n{name}\n"
        place = inbox.folder.free_place("taken", name, NOW)
        inbox.folder.move(seen, place)
        assert inbox.text("taken", put_away_name(name, NOW)) == f"domain\n{name}\n"
    assert inbox.names() == ["ab.csv", "list1.csv"]


def test_names_that_are_no_text_are_seen_copied_and_moved(disk: Inbox, tmp_path: Path) -> None:
    for raw in (b"\xff\xfe.csv", b"a\nb.csv", b"\xff\xfd.csv"):
        Path(os.fsdecode(os.fsencode(disk.root) + b"/" + raw)).write_bytes(raw)
    seen = disk.folder.look()
    assert len(seen) == 3
    assert all(address.isprintable() for address in seen)
    for one in seen.values():
        disk.folder.fetch(one, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == os.fsencode(one.name)
        disk.folder.move(one, disk.folder.free_place("taken", one.name, NOW))
    assert disk.names() == []
    assert len(disk.names("taken")) == 3


def test_a_link_to_a_file_is_a_file_and_one_to_nothing_is_none(disk: Inbox, tmp_path: Path) -> None:
    list_file = tmp_path / "elsewhere.csv"
    list_file.write_text("domain\nacme.example\n")
    Path(disk.address("linked.csv")).symlink_to(list_file)
    Path(disk.address("dangling.csv")).symlink_to(tmp_path / "nowhere.csv")
    os.mkfifo(disk.address("pipe.csv"))
    (seen,) = disk.folder.look().values()
    assert (seen.name, seen.size_bytes) == ("linked.csv", 20)
    disk.folder.move(seen, disk.folder.free_place("taken", seen.name, NOW))
    assert list_file.exists()


def test_a_file_that_was_written_to_or_removed_since_the_look_is_not_copied(
    inbox: Inbox, tmp_path: Path
) -> None:
    inbox.drop("a.csv")
    seen = _seen(inbox)
    inbox.append("a.csv", "more.example\n")
    with pytest.raises(FileChanged):
        inbox.folder.fetch(seen, tmp_path / "copy")
    inbox.remove("a.csv")
    with pytest.raises(FileChanged):
        inbox.folder.fetch(seen, tmp_path / "copy")


def test_a_file_that_was_written_to_since_the_look_stays_in_the_inbox(inbox: Inbox) -> None:
    inbox.drop("a.csv")
    seen = _seen(inbox)
    inbox.append("a.csv", "more.example\n")
    with pytest.raises(FileChanged):
        inbox.folder.move(seen, inbox.folder.free_place("taken", "a.csv", NOW))
    assert inbox.names() == ["a.csv"]


@pytest.mark.parametrize("is_alike", [False, True], ids=["another", "of equal size and time"])
def test_a_file_that_replaced_the_other_in_the_moment_of_the_move_is_put_back(
    disk: Inbox, tmp_path: Path, is_alike: bool
) -> None:
    disk.drop("a.csv", "old")
    seen = _seen(disk)
    new = tmp_path / "new.csv"
    new.write_text("the new one")
    if is_alike:
        new.write_text("the new one"[: seen.size_bytes].ljust(seen.size_bytes, "!"))
        there = Path(disk.address("a.csv")).stat()
        os.utime(new, ns=(there.st_atime_ns, there.st_mtime_ns))
    text = new.read_text()

    class Replacing(type(disk.fs)):  # type: ignore[misc]
        def mv(self, *arguments: str) -> None:
            if new.exists():
                os.replace(new, disk.address("a.csv"))
            super().mv(*arguments)

    folder = InboxFolder(Replacing(), disk.root, disk.root)
    with pytest.raises(FileChanged):
        folder.move(seen, folder.free_place("taken", "a.csv", NOW))
    assert Path(disk.address("a.csv")).read_text() == text
    assert disk.names("taken") == []


def test_a_place_is_never_one_that_is_there(inbox: Inbox) -> None:
    places = []
    for number in range(3):
        inbox.drop("a.csv", f"file {number}")
        places.append(inbox.folder.free_place("taken", "a.csv", NOW))
        inbox.folder.move(_seen(inbox), places[-1])
    assert len(set(places)) == 3
    texts = [inbox.text("taken", name) for name in inbox.names("taken")]
    assert sorted(texts) == ["file 0", "file 1", "file 2"]


@pytest.mark.parametrize("call", ["cp_file", "rm_file"])
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_broken_off_move_can_be_done_again(call: str, is_done: bool) -> None:
    inbox = Inbox(None)
    inbox.drop("a.csv", "whole")
    seen, place = _seen(inbox), inbox.folder.free_place("taken", "a.csv", NOW)
    inbox.fs.fail(OSError("connection reset"), call, is_done=is_done)
    with pytest.raises(InboxAway, match="connection reset"):
        inbox.folder.move(seen, place)
    inbox.fs.fail(None)
    assert "a.csv" in inbox.names() or inbox.text("taken", TAKEN) == "whole"
    if "a.csv" in inbox.names():
        inbox.folder.move(seen, place)
    assert inbox.names() == []
    assert inbox.text("taken", TAKEN) == "whole"


def test_what_fails_is_said_with_address_and_reason(inbox: Inbox, tmp_path: Path) -> None:
    inbox.drop("a.csv")
    seen = _seen(inbox)
    inbox.fs.fail(READ_ONLY, "ls", "get_file", "mv", "cp_file", "pipe_file")
    for step in (
        inbox.folder.look,
        lambda: inbox.folder.fetch(seen, tmp_path / "copy"),
        lambda: inbox.folder.move(seen, f"taken/{TAKEN}"),
        lambda: inbox.folder.write("taken/x.txt", "text"),
    ):
        with pytest.raises(InboxAway, match="Read-only file system") as caught:
            step()
        assert inbox.root in str(caught.value)
        assert "Check that" in str(caught.value)


def test_a_strange_error_of_a_file_system_is_said_too(inbox: Inbox) -> None:
    """Each has exceptions of its own, and no common root but Exception."""

    class ClientError(Exception):
        pass

    inbox.fs.fail(ClientError("AccessDenied: key=\nabc"), "ls")
    with pytest.raises(InboxAway, match="AccessDenied") as caught:
        inbox.folder.look()
    assert "\n" not in str(caught.value)


@contextmanager
def _written_by_another_process(path: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == b"open\n"
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


def test_a_file_that_a_process_writes_to_is_known_to_be_open(disk: Inbox) -> None:
    if not sys.platform.startswith("linux"):
        missing("only Linux tells who has a file open for writing")
    disk.drop("a.csv")
    path = Path(disk.address("a.csv"))
    seen = _seen(disk)
    assert not disk.folder.is_open(seen)
    with path.open():
        assert not disk.folder.is_open(seen)
    with _written_by_another_process(path):
        assert disk.folder.is_open(seen)
    assert not disk.folder.is_open(seen)
    path.unlink()
    assert disk.folder.is_open(seen) is None


def test_where_files_grow_in_place_nobody_can_tell_whether_one_is_open() -> None:
    class Elsewhere(MemoryFileSystem):  # type: ignore[misc]
        protocol = ("sftp", "ssh")

    files = Elsewhere()
    files.pipe_file("/sftp-inbox/a.csv", b"domain")
    folder = InboxFolder(files, "/sftp-inbox", "/sftp-inbox")
    (seen,) = folder.look().values()
    assert folder.is_open(seen) is None


@pytest.mark.parametrize("form", ["{}", "file://{}", "{}/"])
def test_a_folder_may_be_given_as_path_or_address(form: str, tmp_path: Path) -> None:
    (tmp_path / "drop here").mkdir()
    (tmp_path / "drop here" / "a.csv").write_text("domain\nacme.example\n")
    settings = load_settings(home=tmp_path / "home", inbox=form.format(tmp_path / "drop here"))
    (seen,) = open_inbox(settings).look().values()
    assert seen.address == f"{tmp_path}/drop here/a.csv"


def test_an_address_of_another_file_system_is_opened(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, inbox="memory://lists/in")
    assert open_inbox(settings).look() == {}


@pytest.mark.parametrize("address", ["nonsense://x", "smb://host/in"])
def test_an_address_that_cannot_be_used_is_said_with_the_settings_name(
    address: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"PIPELINE_INBOX cannot be used"):
        open_inbox(load_settings(home=tmp_path, inbox=address))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a file")
    folder = open_inbox(load_settings(home=tmp_path, inbox=str(tmp_path / "in")))
    with pytest.raises(InboxAway, match="cannot be listed"):
        folder.look()
