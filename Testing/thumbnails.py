"""Thumbnails of the samples in 3D Slicer's Sample Data module, drawn of themselves, into the module's icons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from PIL import Image
from XrayCTRegistrationLib.mrml import sample
from XrayCTRegistrationLib.mrml.volumes import voxels
from XrayCTRegistrationLib.state import finished

ICONS = Path(__file__).resolve().parents[1] / "XrayCTRegistration" / "Resources" / "Icons"
SIDE_PX = 96


def main() -> None:
    for name, function in {
        "two-views": sample.sample_steps,
        "metal-and-cut-ct": sample.metal_and_cut_ct_steps,
        "fluoroscopy-run": sample.run_steps,
        "bones-that-moved": sample.bones_steps,
    }.items():
        scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerSequencesLogic()
        logic.SetMRMLScene(scene)  # knows the nodes of runs
        nodes = finished(function(scene))
        shown = [_small(voxels(node)[0]) for node in (*nodes.xray_nodes, *nodes.xray_nodes)[:2]]
        Image.fromarray(np.hstack(shown)).save(ICONS / f"{name}.png", optimize=True)


def _small(pixels: np.ndarray) -> np.ndarray:
    low, high = np.percentile(pixels, (1, 99.5))
    grey = np.clip((pixels - low) / (high - low), 0, 1) * 255
    return np.asarray(Image.fromarray(grey.astype(np.uint8)).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
