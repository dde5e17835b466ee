"""What the views show, as drawn: both X-rays in 3D, thin edges in the slice view of their X-ray alone."""

from __future__ import annotations

import numpy as np
import pytest
from panel_case import choose_case

pytest.importorskip("PySide6", reason="the panel host needs PySide6")
slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def drawn(widget) -> np.ndarray:
    """What a view shows, as it was drawn last, (rows, columns, 3)."""
    image = widget.grab().toImage()
    image = image.convertToFormat(image.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def redrawn(host, view: str) -> None:
    """Wait until a view has been drawn again, and rests."""
    count = host.rendering.counts[view]
    host.wait(lambda: host.rendering.counts[view] > count, 20)
    host.idle(0.2)


@pytest.fixture
def case(host):
    from XrayCTRegistrationLib.mrml.overlay import edge_points

    case = choose_case(host)
    host.wait(lambda: all(len(edge_points(node)) > 0 for node in case.xray_nodes))
    host.idle(0.6)
    return case


def slice_widget(number: int):
    return slicer.app.layoutManager().sliceWidget(f"Xray{number}")


def is_green(image: np.ndarray) -> np.ndarray:
    return (image[..., 1] > image[..., 0] + 60) & (image[..., 1] > image[..., 2] + 60)


def test_both_xrays_stand_in_the_3d_view_before_anything_is_registered(host, case):
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    before = drawn(view)
    for number in (1, 2):
        slice_widget(number).mrmlSliceNode().SetSliceVisible(False)
        redrawn(host, "1")
        after = drawn(view)
        assert (np.abs(after - before).max(axis=2) > 8).mean() > 0.01  # of the view: there was a plane
        before = after


def test_edges_are_drawn_one_or_two_pixels_of_the_screen_wide(host, case):
    from scipy import ndimage

    green = is_green(drawn(slice_widget(1).sliceView()))
    assert green.sum() > 200
    # The X-ray's pixels are larger: what is three wide in every direction would be a pixel of it.
    size = min(slice_widget(1).sliceView().size.toTuple())
    assert size / max(case.xray_nodes[0].GetImageData().GetDimensions()) > 1.5
    assert ndimage.binary_opening(green, np.ones((4, 4))).sum() < 0.05 * green.sum()


def test_the_edges_of_one_xray_are_not_drawn_in_the_view_of_the_other(host, case):
    from XrayCTRegistrationLib.mrml.overlay import clear_edges

    clear_edges(case.xray_nodes[0])
    redrawn(host, "Xray1")
    assert not is_green(drawn(slice_widget(1).sliceView())).any()
    assert is_green(drawn(slice_widget(2).sliceView())).any()


def test_a_volume_that_is_loaded_later_does_not_take_the_place_of_an_xray(host, case, tmp_path):
    import SimpleITK as sitk

    shown = slice_widget(1).mrmlSliceCompositeNode().GetBackgroundVolumeID()
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9, 9), np.int16)), str(tmp_path / "other.nrrd"))
    slicer.util.loadVolume(str(tmp_path / "other.nrrd"))
    assert slice_widget(1).mrmlSliceCompositeNode().GetBackgroundVolumeID() == shown
