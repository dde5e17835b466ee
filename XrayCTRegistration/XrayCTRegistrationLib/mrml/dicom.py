"""DICOM tags of X-ray nodes, through the instance UIDs that Slicer's DICOM module leaves on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..geometry.entries import Entries
from ..io.dicom_files import is_dicom, read_tags
from ..io.dicom_geometry import carm_entries
from .sequences import sequence_of
from .xrays import file_of

_UIDS = "DICOM.instanceUIDs"


def dicom_entries(node: Any, database: Any | None) -> Entries:
    """What the DICOM tags of an X-ray node say of its geometry; empty where it does not come from DICOM.

    database: slicer.dicomDatabase, or None. Raises InputError when the file is damaged.
    """
    path = dicom_file(node, database)
    return carm_entries(read_tags(path)) if path is not None else {}


def dicom_file(node: Any, database: Any | None) -> Path | None:
    """The DICOM file of the first instance of a node or its sequence: as the database knows it, or as it was loaded."""
    uids = next((uids.split() for one in (node, sequence_of(node)) if one and (uids := one.GetAttribute(_UIDS))), [])
    if uids and database is not None and (found := database.fileForInstance(uids[0])):
        return Path(found) if Path(found).is_file() else None
    path = file_of(node)
    if path is None or not path.is_file():
        return None
    return path if is_dicom(path) else None
