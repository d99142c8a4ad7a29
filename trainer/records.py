"""Reading canonical preference records: JSON lines in a zstd stream."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import zstandard
from pydantic import ValidationError

from core.contract.errors import BadData
from core.contract.preference import AnyRecord, parse_record


def first(path: Path) -> AnyRecord:
    """All of a file's texts are trained on as they stand, or none. Raises BadData for an empty file."""
    found = next(read(path), None)
    if found is None:
        raise BadData(f"{path.name} holds no record.", code="no_usable_pairs")
    return found


def read(path: Path, digest: str | None = None) -> Iterator[AnyRecord]:
    """Every record in order; at the end the sha256 of the lines must be `digest`, where one is given."""
    seen = hashlib.sha256()
    number = 0
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as raw:
            for line in io.BufferedReader(raw):
                number += 1
                seen.update(line)
                yield parse_record.validate_json(line)
    except FileNotFoundError as error:
        raise BadData(f"The data file {path.name} does not exist.", code="missing_data") from error
    except zstandard.ZstdError as error:
        raise BadData(f"The data file {path.name} is not a whole zstd stream.", code="damaged_data") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise BadData(f"Record {number} of {path.name} is not a preference record: {where}: {fault['msg']}.") from error
    if digest is not None and seen.hexdigest() != digest:
        raise BadData(f"{path.name} does not have the sha256 {digest} that the run names.", code="damaged_data")
