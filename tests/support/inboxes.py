"""Inboxes to drop files into: on the local disk and in memory, and ones that fail on order."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from resources.adapters.inbox import InboxFolder

READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product catches it."""


class _Failing(AbstractFileSystem):  # type: ignore[misc]
    """Raises before a call, or after it has been done; both as often as it is asked to."""

    cachable = False

    def fail(
        self,
        error: BaseException | None,
        *calls: str,
        is_done: bool = False,
    ) -> None:
        """Let these calls fail from now on; none of them with None.

        Args:
            is_done: Fail after the call has had its effect.
        """
        self.failing = {} if error is None else dict.fromkeys(calls, (error, is_done))

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        error, is_done = getattr(self, "failing", {}).get(name, (None, False))
        if error is not None and not is_done:
            raise error
        result = getattr(super(), name)(*arguments, **options)
        if error is not None:
            raise error
        return result

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._call("ls", path, detail=detail, **options)

    def get_file(self, *arguments: Any, **options: Any) -> Any:
        return self._call("get_file", *arguments, **options)

    def mv(self, *arguments: Any, **options: Any) -> Any:
        return self._call("mv", *arguments, **options)

    def cp_file(self, *arguments: Any, **options: Any) -> Any:
        return self._call("cp_file", *arguments, **options)

    def rm_file(self, *arguments: Any, **options: Any) -> Any:
        return self._call("rm_file", *arguments, **options)

    def pipe_file(self, *arguments: Any, **options: Any) -> Any:
        return self._call("pipe_file", *arguments, **options)


class FailingDisk(_Failing, LocalFileSystem):  # type: ignore[misc]
    """The local disk."""


class FailingMemory(_Failing, MemoryFileSystem):  # type: ignore[misc]
    """Files in memory, as an object store has them: a move is a copy and a removal."""


class Inbox:
    """A folder and a hand that drops files into it.

    Args:
        folder: Where it is; in memory if None.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            self.fs: Any = FailingMemory(global_store=False)
            self.root = "/inbox"
        else:
            self.fs = FailingDisk()
            self.root = str(folder)
        self.folder = InboxFolder(self.fs, self.root, self.root)
        # What moving a file takes there.
        self.moves = ("mv",) if folder is not None else ("cp_file", "rm_file")
        self.fs.makedirs(self.root, exist_ok=True)

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"

    def drop(self, name: str, text: str | bytes = "domain\nacme.example\n") -> None:
        """Write a file whole."""
        with self.fs.open(self.address(name), "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)

    def append(self, name: str, text: str) -> None:
        """Write a little more of it."""
        with self.fs.open(self.address(name), "ab") as file:
            file.write(text.encode())

    def remove(self, name: str) -> None:
        self.fs.rm_file(self.address(name))

    def names(self, folder: str = "") -> Sequence[str]:
        """Files directly in the inbox, or in a folder of it."""
        path = f"{self.root}/{folder}".rstrip("/")
        if not self.fs.exists(path):
            return []
        found = self.fs.ls(path, detail=True)
        return sorted(e["name"].rpartition("/")[2] for e in found if e["type"] == "file")

    def text(self, folder: str, name: str) -> str:
        return bytes(self.fs.cat_file(f"{self.root}/{folder}/{name}")).decode()
