"""Outputs that lie in a bucket, made readable on this machine; local ones are where they are."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.stages.output import fetch_files
from phenoscale.stages.records import LINEAGE, SUCCESS, Success, is_read_in_place, split_by_output
from phenoscale.storage import open_storage
from phenoscale.storage.digests import file_names
from phenoscale.storage.mirror import address_of, local_path, make_room, use_cached


def fetch_output(place: Path | str) -> Path:
    """Make an output, or a file or folder in one, readable on this machine.

    Chunks of arrays (below a `.zarr` folder) stay in the bucket and are read there: `locate` says where.

    Args:
        place: an `s3://` address, its local path in the cache, or a path of a local workspace.

    Returns:
        The local path.

    Raises:
        UserError: an address at which there is no output of a finished stage.
        RetryError: the store is away, or a file did not arrive as it was written.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    found = output_above(address)
    if found is None:
        raise UserError(
            f"{address} is in no output of a finished stage; check the address, run its step, or copy the "
            "file to a local path"
        )
    output, below = found
    folder = local_path(output)
    use_cached(folder)
    success = _bring_records(output, folder=folder)
    names = success.names_below(below)
    if names:
        for other, group in split_by_output(names, success).items():
            parent = output.rpartition("/")[0].rpartition("/")[0]
            storage = open_storage(f"{parent}/{other}" if other else output)
            fetch_files(storage, {name: success.files[name] for name in group}, folder=folder)
    elif below:
        _fetch_aside(output, below=below, folder=folder)
    make_room(folder)
    return local_path(address)


def keep_built(attempt: Path, *, output: Path) -> None:
    """Turn the folder of a committed attempt into the local copy of its output, when that is in a bucket."""
    address = address_of(output)
    if address is not None:
        use_cached(output)
        if output.is_dir():
            shutil.rmtree(output)
        for name in filter(is_read_in_place, file_names(attempt)):
            (attempt / name).unlink()
        attempt.rename(output)
        _bring_records(address, folder=output)
        make_room(output)
    else:
        shutil.rmtree(attempt)


def locate(path: Path | str) -> str:
    """Return where the file or folder of an output really lies: a local path, or an `s3://` address.

    A part that an output took over from another one lies there.
    """
    address = address_of(path)
    if address is None:
        return str(path)
    found = output_above(address)
    if found is None:
        return address
    output, below = found
    other = _bring_records(output, folder=local_path(output)).output_of(below)
    if not other:
        return address
    workspace = output.rpartition("/")[0].rpartition("/")[0]
    return f"{workspace}/{other}/{below}"


def output_above(address: str) -> tuple[str, str] | None:
    """Return the finished output that an address is or lies in, and the name in it; None when in none."""
    scheme, _, place = address.rstrip("/").partition("://")
    bucket, *parts = place.split("/")
    # from the inside out, because a copied output may lie in a folder of another one
    for length in range(len(parts), 0, -1):
        output = f"{scheme}://{'/'.join([bucket, *parts[:length]])}"
        if (local_path(output) / SUCCESS).is_file() or open_storage(output).exists(SUCCESS):
            return output, str(PurePosixPath(*parts[length:])) if parts[length:] else ""
    return None


def _bring_records(output: str, *, folder: Path) -> Success:
    """Make the local copy's records those of the bucket; a copy of something older is dropped."""
    storage = open_storage(output)
    data = storage.read_bytes(SUCCESS)
    copy = folder / SUCCESS
    if not copy.is_file() or copy.read_bytes() != data:
        if copy.is_file():
            shutil.rmtree(folder)
        if storage.exists(LINEAGE):
            write_atomic(folder / LINEAGE, storage.read_bytes(LINEAGE))
        write_atomic(copy, data)
    return Success.parse(data)


def _fetch_aside(output: str, *, below: str, folder: Path) -> None:
    """Bring what lies in an output without being part of its digest: logs, checkpoints, records."""
    storage = open_storage(output)
    names = [
        info.key for info in storage.list(below) if info.key == below or info.key.startswith(f"{below}/")
    ]
    if not names:
        raise UserError(f"{output}/{below} is not among the files that its stage wrote; check the path")
    for name in names:
        if not (folder / name).is_file():
            storage.get_file(name, folder / name)
