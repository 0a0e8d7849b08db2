"""Files that appear complete or not at all: written beside their place, then moved."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError


class Output:
    """Files of one command; all of them are moved into place by :meth:`commit`, none without it.

    Use as a context manager: on leaving, what was not committed is removed. Other files in the target folders
    are never touched.

    Raises
    ------
    InputError
        When a place cannot be written.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, Path] = {}  # target folder: scratch folder on the same file system
        self._moves: list[tuple[Path, Path]] = []

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for scratch in self._folders.values():
            shutil.rmtree(scratch, ignore_errors=True)

    def path(self, target: Path) -> Path:
        """Where to write a file that :meth:`commit` shall move to ``target``."""
        try:
            blocked = target.is_dir()
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}; choose another place") from error
        if blocked:
            raise InputError(f"{target} is a directory; a file is to be written there")
        self.folder(target.parent)
        scratch = self._folders[target.parent] / target.name
        self._moves.append((scratch, target))
        return scratch

    def folder(self, folder: Path) -> None:
        """Make sure, before any work, that files can be written to ``folder``."""
        if folder in self._folders:
            return
        parent = folder
        try:
            while not parent.exists():
                parent = parent.parent
            if not parent.is_dir():
                raise InputError(f"{parent} is a file, so {folder} cannot be a folder; choose another place")
            self._folders[folder] = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}; choose another place") from error

    def write(self, target: Path, content: str | bytes) -> None:
        """Write one file."""
        data = content.encode() if isinstance(content, str) else content
        path = self.path(target)
        try:
            path.write_bytes(data)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}") from error

    def write_arrays(self, target: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a ``.npz`` file; arrays may have any name."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(f"{name}.npy", member.getvalue())
        self.write(target, buffer.getvalue())

    def commit(self) -> None:
        """Move every file into place, creating folders as needed."""
        for scratch, target in self._moves:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(scratch, target)
            except OSError as error:
                raise InputError(f"{target} cannot be written: {error.strerror}") from error
        self._moves.clear()
