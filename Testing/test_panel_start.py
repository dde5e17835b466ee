"""A pose that a person has set is a start: searched near by default, never left for a worse one; wide when asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from panel_case import LONGEST_S, PIXEL_MM, REFINE, choose_case, choose_xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

WIDE, NEAR = "25", "8"  # degrees, in the words beside the button


def words(host):
    return host.ui.scopeWordsLabel.text


def pose_node(host):
    return host.ui.poseSelector.currentNode()


def register(host, button=None):
    host.press(button or host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def test_a_pose_that_nobody_has_touched_is_searched_far_around(host):
    choose_case(host)
    assert words(host) == "Nobody has placed the CT: searches far, about 25° and 70 mm."


def moved_by_slider(host):
    host.ui.shiftLeftSlider.value = 4


def turned_by_another_module(host):
    matrix = slicer.util.arrayFromTransformMatrix(pose_node(host))
    matrix[0, 3] += 3
    slicer.util.updateTransformMatrixFromArray(pose_node(host), matrix)


def set_by_a_preset_that_changes_nothing(host):
    host.press(host.ui.presetAnglesButton)


def chosen_in_the_selector(host):
    node = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "saved pose")
    host.ui.poseSelector.setCurrentNode(node)


@pytest.mark.parametrize(
    "place",
    [moved_by_slider, turned_by_another_module, set_by_a_preset_that_changes_nothing, chosen_in_the_selector],
)
def test_a_pose_that_was_set_is_searched_near(host, place):
    choose_case(host)
    place(host)
    assert words(host) == "The CT was placed: searches near that pose, about 8° and 15 mm."


def test_a_ct_that_stands_under_a_transform_already_was_placed(host):
    from panel_case import add_case

    case = add_case(host)
    node = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registered elsewhere")
    case.ct_node.SetAndObserveTransformNodeID(node.GetID())
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, *case.xray_nodes)
    assert NEAR in words(host)


def test_undo_back_to_the_untouched_pose_searches_far_again(host):
    choose_case(host)
    moved_by_slider(host)
    host.panel.panel.selection.record()  # as when it comes to rest
    assert NEAR in words(host)
    host.press(host.ui.undoButton)
    assert WIDE in words(host)


def test_the_choice_beside_the_button_overrides_and_is_saved_with_the_scene(host):
    choose_case(host)
    host.ui.scopeComboBox.currentText = "Near the pose"
    assert words(host).startswith("Searches near")
    moved_by_slider(host)
    host.ui.scopeComboBox.currentText = "Far around the pose"
    assert words(host).startswith("Searches far")
    assert host.panel.panel.selection.parameters.parameterNode.GetParameter("scope") == "WIDE"


def test_methods_without_a_search_say_so_and_offer_no_range(host):
    choose_case(host)
    host.ui.methodComboBox.currentText = REFINE
    assert "without a search" in words(host)
    assert not host.ui.scopeComboBox.enabled


def test_the_ranges_are_those_of_the_library(host):
    from XrayCTRegistrationLib.panel.choices import NEAR as PANEL_NEAR
    from XrayCTRegistrationLib.panel.choices import WIDE as PANEL_WIDE
    from XrayCTRegistrationLib.search.search_range import NEAR, SearchRange

    for ours, theirs in ((PANEL_NEAR, NEAR), (PANEL_WIDE, SearchRange())):
        assert ours == (theirs.rotation_deg, theirs.depth_mm, theirs.in_plane_mm)


def test_the_range_reaches_the_registration(host, monkeypatch):
    from XrayCTRegistrationLib.search.search_range import NEAR, SearchRange

    choose_case(host)
    searched = []
    for place in (lambda: None, lambda: moved_by_slider(host)):
        place()
        host.press(host.ui.registerButton)
        searched.append(host.panel.panel.runner.session.settings.search)
        host.press(host.ui.registerButton)  # cancelled
    assert searched == [SearchRange(), NEAR]


@pytest.fixture
def ending_with(host, monkeypatch):
    """Let registrations end at once with a result that is changed so."""
    import sys

    session = sys.modules.get("XrayCTRegistrationLib.mrml.session")
    if session is None:
        import XrayCTRegistrationLib.mrml.session as session
    steps = session.registration_steps

    def patched(change):
        def changed(ct, radiographs, views, start, settings, *masks):
            result = yield from steps(ct, radiographs, views, start, dataclasses.replace(settings, method="gradient"))
            return change(result)

        monkeypatch.setattr(session, "registration_steps", changed)

    return patched


def doubted(result):
    confidence = dataclasses.replace(result.confidence, level="low", reason="it was made so")
    return dataclasses.replace(result, confidence=confidence)


def kept_its_start(result):
    """As the library ends where nothing more alike than the start was found."""
    return dataclasses.replace(
        result, pose=result.start, similarity=result.similarity_before, moved_deg=0.0, moved_mm=0.0, kept_start=True
    )


def test_a_near_search_that_does_not_trust_itself_offers_the_wide_one_from_the_same_start(host, ending_with):
    case = choose_case(host)
    moved_by_slider(host)
    start = slicer.util.arrayFromTransformMatrix(pose_node(host))
    ending_with(doubted)
    register(host)
    assert "Low confidence" in host.ui.resultLineLabel.text
    assert not np.allclose(slicer.util.arrayFromTransformMatrix(pose_node(host)), start)
    ending_with(lambda result: result)
    host.press(host.ui.searchWidelyButton)
    session = host.panel.panel.runner.session
    assert session.settings.search.rotation_deg == 25
    np.testing.assert_allclose(session.start.matrix[:3, 3], start[:3, 3] * (-1, -1, 1), atol=1e-6)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    assert not host.ui.searchWidelyButton.isVisibleTo(host.module.widgetRepresentation())
    assert case.ct_node.GetParentTransformNode() is pose_node(host)


def test_a_wide_search_that_does_not_trust_itself_offers_nothing(host, ending_with):
    choose_case(host)
    ending_with(doubted)
    register(host)
    assert "Low confidence" in host.ui.resultLineLabel.text
    assert not host.ui.searchWidelyButton.isVisibleTo(host.module.widgetRepresentation())


def test_a_start_that_is_more_alike_than_the_end_stays_and_the_panel_says_so(host, ending_with):
    choose_case(host)
    moved_by_slider(host)
    start = slicer.util.arrayFromTransformMatrix(pose_node(host))
    ending_with(kept_its_start)
    register(host)
    np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(pose_node(host)), start, atol=1e-9)
    assert "nothing more alike than the start" in host.ui.resultLineLabel.text
    assert "stays where it stood" in host.ui.resultNoteLabel.text


def test_a_start_that_fits_is_kept_to_a_pixel_by_the_default_choice(host):
    case = choose_case(host)
    flip = np.diag([-1, -1, 1, 1])
    node = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "saved pose that fits")
    slicer.util.updateTransformMatrixFromArray(node, flip @ case.true_pose.matrix @ flip)
    host.ui.poseSelector.setCurrentNode(node)
    register(host)
    from XrayCTRegistrationLib.mrml.poses import pose_of

    assert case.error_mm(pose_of(node)) < PIXEL_MM
