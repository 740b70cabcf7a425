"""Where the archive's files lie: a local folder, or an object store named by a URL.

A file is seen whole or not at all: a folder's is written aside, synced and renamed; an object appears when its upload
is complete.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
from pyarrow import fs

from metering.config import Settings
from metering.errors import ArchiveUnavailable, ConfigurationError

SCHEMES: Final = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
"""Of URLs that pyarrow opens; anything else is a folder."""


class Place(Protocol):
    """Files by relative path. Every call may raise `ArchiveUnavailable`; reading also `FileNotFoundError`."""

    remote: bool
    """Whether a file that is there may still not be readable for a while."""

    def write(self, path: str, content: Any) -> None:
        """Put a file (a buffer of bytes), durable when this returns; one of the same path is replaced."""
        ...

    def open(self, path: str) -> Any:
        """A `pyarrow.NativeFile` to read from anywhere in the file; the caller closes it."""
        ...

    def remove(self, path: str) -> None:
        """Forget a file; one that is gone already is no error."""
        ...


def open_place(address: str) -> Place:
    """The place that a setting names: a folder, or a URL such as `s3://bucket/prefix?region=eu-west-1`.

    Raises `ConfigurationError` for a URL that cannot be understood.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        return Folder(Path(address))
    if scheme == "file":
        return Folder(Path(address.removeprefix("file://")))
    if scheme not in SCHEMES:
        raise ConfigurationError(f"METERING_ARCHIVE: no archive lies at {scheme}://; one of {', '.join(SCHEMES)} does")
    try:
        filesystem, root = fs.FileSystem.from_uri(address)
    except (pa.ArrowException, OSError) as error:
        raise ConfigurationError(f"METERING_ARCHIVE={address!r} cannot be opened: {error}") from error
    return ObjectStore(filesystem, root)


def place_of(settings: Settings) -> Place:
    """The place of the archive of these settings."""
    return open_place(settings.archive or str(settings.data_dir / "archive"))


class Folder:
    """A local folder, made when it is first written to."""

    remote = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, content: Any) -> None:
        """See `Place.write`."""
        target = self._root / path
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            made = _make_folders(target.parent)
            try:
                with aside.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(target)
            except BaseException:
                with suppress(OSError):
                    aside.unlink()
                raise
            for folder in (target.parent, *made):
                _sync(folder)
            for left in target.parent.glob(f".{target.name}.*"):
                left.unlink(missing_ok=True)  # Of a writer that was killed; one that is alive writes it again.
        except OSError as error:
            raise ArchiveUnavailable(f"{target} cannot be written: {error.strerror or error}") from error

    def open(self, path: str) -> Any:
        """See `Place.open`."""
        try:
            return pa.memory_map(str(self._root / path))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ArchiveUnavailable(f"{self._root / path} cannot be read: {error}") from error

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        try:
            (self._root / path).unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveUnavailable(f"{self._root / path} cannot be removed: {error}") from error


class ObjectStore:
    """An object store, through `pyarrow.fs`."""

    remote = True

    def __init__(self, filesystem: Any, root: str) -> None:
        """`root`: bucket and prefix."""
        self._files = filesystem
        self._root = root.rstrip("/")

    def write(self, path: str, content: Any) -> None:
        """See `Place.write`: the object is there once the stream is closed."""
        try:
            with self._files.open_output_stream(f"{self._root}/{path}") as stream:
                stream.write(content)
        except OSError as error:
            raise ArchiveUnavailable(f"{path} was not taken by the object store: {error}") from error

    def open(self, path: str) -> Any:
        """See `Place.open`."""
        try:
            return self._files.open_input_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ArchiveUnavailable(f"{path} cannot be read from the object store: {error}") from error

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        try:
            self._files.delete_file(f"{self._root}/{path}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ArchiveUnavailable(f"{path} cannot be removed from the object store: {error}") from error


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; answers the folders in which a name is new."""
    absent = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return [one.parent for one in absent]


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
