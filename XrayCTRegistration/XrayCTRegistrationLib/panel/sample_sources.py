"""Our samples in 3D Slicer's Sample Data module, made on this machine when they are chosen, without network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from . import dependencies
from .messages import told_to_people

CATEGORY = "X-ray CT Registration"
SAMPLES = {  # by the name of the thumbnail and of the function in mrml.sample
    "two-views": ("X-ray CT spine, two views", "sample_steps"),
    "metal-and-cut-ct": ("X-ray CT spine, metal and a cut CT", "metal_and_cut_ct_steps"),
    "fluoroscopy-run": ("X-ray CT spine, fluoroscopy run", "run_steps"),
    "bones-that-moved": ("X-ray CT spine, bones that moved", "bones_steps"),
}


def register_samples(resources: str | Path) -> None:
    """Add every sample to the module. resources: the module's folder of icons and requirements."""
    import SampleData  # a module of 3D Slicer, which may be switched off

    for thumbnail, (name, function) in SAMPLES.items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris="",  # the module wants one of each, and asks the downloader
            fileNames=thumbnail,
            nodeNames=name,
            thumbnailFileName=str(Path(resources) / "Icons" / f"{thumbnail}.png"),
            customDownloader=_maker(function, Path(resources) / "requirements.txt"),
        )


def _maker(function: str, requirements: Path) -> Callable[[Any], list[Any]]:
    def make(source: Any) -> list[Any]:
        """Add the sample's nodes to the scene; returns them, the CT first. Nothing where packages are declined."""
        made: list[Any] = []
        with told_to_people():
            dependencies.ensure(requirements)
            from ..mrml import sample
            from ..state import finished

            with slicer.util.WaitCursor():
                nodes = finished(getattr(sample, function)(slicer.mrmlScene))
                made = [nodes.ct_node, *nodes.xray_nodes]
                if nodes.segmentation_node is not None:
                    made.append(nodes.segmentation_node)
        return made

    return make
