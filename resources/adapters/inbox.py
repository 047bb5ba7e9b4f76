"""The inbox itself: a folder, or any place that fsspec reaches, that lists are dropped into.

Looks, fetches, moves and writes beside; decides nothing (`core/inbox` does) and remembers nothing
(`ledger/inbox` does). Paths are never given to calls that take `*` or `[` for a pattern.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from resources.core.config import Settings
from resources.core.errors import UsageError
from resources.core.inbox import (
    FileChanged,
    InboxAway,
    SeenFile,
    is_list_file,
    put_away_name,
    shown_name,
)
from resources.core.redaction import redact

MOST_WHY_CHARS = 200
# What tells of a change where there is no ETag; each kind of storage has a name of its own for it.
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modify", "modified", "ino")
_ETAGS = ("ETag", "etag", "md5Hash")
# File systems on which a file grows where it lies, and whose writers nobody can ask about.
_WRITTEN_IN_PLACE = frozenset({"ftp", "sftp", "ssh", "smb", "webhdfs", "hdfs"})
# A file that vanishes while its folder is listed makes the listing fail.
_MOST_LISTINGS = 3


class InboxFolder:
    """A folder that lists are dropped into.

    Args:
        files: The file system it is on.
        root: Its path there.
        shown: Its address, fit to be shown.
    """

    def __init__(self, files: fsspec.AbstractFileSystem, root: str, shown: str) -> None:
        self._fs = files
        self._root = root.rstrip("/")
        self._is_local = isinstance(files, LocalFileSystem)
        self.shown = shown.rstrip("/") or "/"

    # -- looking ----------------------------------------------------------------------------------

    def look(self, troubles: list[str] | None = None) -> dict[str, SeenFile]:
        """The files that may be lists, by address.

        Args:
            troubles: Gets a sentence for each entry that cannot be looked at; it keeps no other
                one from being seen.

        Raises:
            InboxAway: the folder cannot be listed.
        """
        found: dict[str, SeenFile] = {}
        for entry in self._entries():
            try:
                seen = self._seen(entry)
            except InboxAway as error:
                if troubles is not None:
                    troubles.append(str(error))
                continue
            if seen is not None:
                found[seen.address] = seen
        return found

    def _entries(self) -> Sequence[Mapping[str, Any]]:
        for _ in range(_MOST_LISTINGS):
            try:
                with self._reaching("listed", self.shown):
                    if self._is_local:
                        self._fs.makedirs(self._root, exist_ok=True)
                    self._fs.invalidate_cache()
                    found: Sequence[Mapping[str, Any]] = self._fs.ls(self._root, detail=True)
                    return found
            except FileChanged:
                if not self._is_local:
                    return []  # where folders are only prefixes, an empty one is not there
        raise InboxAway(
            f"{self.shown} cannot be listed: files vanish from it while it is. It is looked at "
            "again by itself."
        )

    def _seen(self, entry: Mapping[str, Any]) -> SeenFile | None:
        name = str(entry["name"]).rpartition("/")[2]
        if not is_list_file(name) or not (entry["type"] == "file" or entry.get("islink")):
            return None
        try:
            # A link in a listing tells of itself, and not of the file it leads to.
            info = self._info(name) if entry.get("islink") else entry
        except FileChanged:
            return None
        if info["type"] != "file":
            return None
        size = int(info.get("size") or 0)
        return SeenFile(name, self._address(name), size, self._stamp(name, info))

    def _address(self, name: str) -> str:
        return f"{self.shown.rstrip('/')}/{shown_name(name)}"

    def is_open(self, seen: SeenFile) -> bool | None:
        """Whether a process has a file open for writing; None where that cannot be told.

        An object in a store is there once it is whole.
        """
        if self._is_local:
            return _is_open_for_writing(self._path(seen.name))
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        return None if names & _WRITTEN_IN_PLACE else False

    # -- one file ---------------------------------------------------------------------------------

    def fetch(self, seen: SeenFile, target: Path) -> None:
        """Copy a file to a local path, whole.

        Raises:
            FileChanged: it is not what was seen any more.
            InboxAway: it cannot be read or copied.
        """
        with self._reaching(f"copied to {target.parent}", seen.address):
            self._fs.get_file(self._path(seen.name), str(target))
        self._require_same(seen)

    def free_place(self, folder: str, name: str, now: float) -> str:
        """A path in a folder of the inbox that nothing has yet, named after time and file.

        Raises:
            InboxAway: the folder cannot be made or looked into.
        """
        with self._reaching("looked into", f"{self.shown}/{folder}"):
            self._fs.makedirs(f"{self._root}/{folder}", exist_ok=True)
            self._fs.invalidate_cache()
            number = 1
            while self._fs.exists(f"{self._root}/{folder}/{put_away_name(name, now, number)}"):
                number += 1
        return f"{folder}/{put_away_name(name, now, number)}"

    def move(self, seen: SeenFile, place: str) -> None:
        """Move a file to a place that was free. Nothing is lost when it is broken off, and then
        done again.

        Raises:
            FileChanged: it is not what was seen any more, and stays where it is.
            InboxAway: it cannot be moved.
        """
        source, target = self._path(seen.name), f"{self._root}/{place}"
        self._require_same(seen)
        with self._reaching("moved", seen.address):
            if self._is_local:
                self._fs.mv(source, target)
            else:
                self._fs.cp_file(source, target)
        if not self._is_local:
            self._require_same(seen)
            with self._reaching("removed", seen.address):
                self._fs.rm_file(source)
        elif self._is_another(seen, target):
            self._put_back(seen, source, target)

    def _is_another(self, seen: SeenFile, target: str) -> bool:
        """Whether a new file came between the look and the move, and was moved instead."""
        with self._reaching("looked at", seen.address):
            info = self._fs.info(target)
            is_one_disk = os.stat(self._root).st_dev == os.stat(target).st_dev
        stamp = self._stamp(seen.name, info)
        if is_one_disk:
            return stamp != seen.stamp
        return _same_anywhere(stamp) != _same_anywhere(seen.stamp)

    def _put_back(self, seen: SeenFile, source: str, target: str) -> None:
        with self._reaching("put back", seen.address):
            if not self._fs.exists(source):
                self._fs.mv(target, source)
                raise FileChanged(f"{seen.address} was replaced while it was moved")
        raise InboxAway(
            f"{seen.address} was replaced twice while it was moved: the first of the two new files "
            f"lies unread at {shown_name(target)}; put it into the inbox again."
        )

    def write(self, place: str, text: str) -> None:
        """Write a text into the inbox.

        Raises:
            InboxAway: it cannot be written.
        """
        with self._reaching("written", f"{self.shown}/{place}"):
            self._fs.pipe_file(f"{self._root}/{place}", text.encode())

    # -- what is there ----------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _info(self, name: str) -> Mapping[str, Any]:
        with self._reaching("looked at", self._address(name)):
            self._fs.invalidate_cache()
            info: Mapping[str, Any] = self._fs.info(self._path(name))
        return info

    def _require_same(self, seen: SeenFile) -> None:
        if self._stamp(seen.name, self._info(seen.name)) != seen.stamp:
            raise FileChanged(f"{seen.address} has changed")

    def _stamp(self, name: str, info: Mapping[str, Any]) -> str:
        size = f"size={info.get('size')}"
        for key in _ETAGS:
            if info.get(key):
                return f"{size} {key.lower()}={str(info[key]).strip(chr(34))}"
        times = [f"{key}={info[key]}" for key in _TIMES if info.get(key) is not None]
        return " ".join([size, *(times or self._modified(name))])

    def _modified(self, name: str) -> list[str]:
        try:
            with self._reaching("looked at", self._address(name)):
                return [f"modified={self._fs.modified(self._path(name))}"]
        except NotImplementedError:
            return []  # the size alone tells then

    @contextmanager
    def _reaching(self, doing: str, shown: str) -> Iterator[None]:
        """Turn what a file system raises into words: each has exceptions of its own."""
        try:
            yield
        except (NotImplementedError, FileChanged):
            raise
        except FileNotFoundError as error:
            raise FileChanged(f"{shown} is not there") from error
        except Exception as error:
            raise InboxAway(
                f"{shown} cannot be {doing}: {_why(error)}. Check that it can be reached, and that "
                "this process may read, write and remove files there."
            ) from error


def open_inbox(settings: Settings) -> InboxFolder:
    """The inbox that the settings name; one without an address is HOME/inbox.

    Raises:
        UsageError: the address cannot be used; says why.
    """
    address = settings.inbox or str(settings.home / "inbox")
    if "://" not in address and "::" not in address:
        path = str(Path(address).expanduser().absolute())
        return InboxFolder(fsspec.filesystem("file"), path, path)
    try:
        files, root = url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise UsageError(
            f"PIPELINE_INBOX cannot be used: {_why(error)}. Write it as a folder or as "
            "s3://bucket/folder, and install what its file system needs."
        ) from error
    if isinstance(files, LocalFileSystem):
        return InboxFolder(files, root, root)
    return InboxFolder(files, root, redact(str(files.unstrip_protocol(root))))


def _why(error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return redact(" ".join((words or type(error).__name__).split()))[:MOST_WHY_CHARS].rstrip(".")


def _same_anywhere(stamp: str) -> str:
    """A stamp without what a move to another disk changes."""
    return " ".join(part for part in stamp.split(" ") if not part.startswith("ino="))


def _is_open_for_writing(path: str) -> bool | None:
    """Ask Linux for a read lease, which it refuses while anybody has the file open for writing.

    None where it cannot be asked: it gives leases on files of its own disks alone, to their owner.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None  # fetching it will say why
    try:
        # Somebody may open it just now, and then the lease's holder gets a signal: one that
        # nobody minds instead of SIGIO, which would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False
