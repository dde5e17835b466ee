"""The strip below the sections is always in sight; sections fold as their steps are done; colours suit the theme."""

from __future__ import annotations

import pytest
from panel_case import LONGEST_S, REFINE, choose_case, choose_xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

ALWAYS = ("methodComboBox", "scopeComboBox", "registerButton", "undoButton", "redoButton", "scopeWordsLabel")
SECTIONS = ("images", "geometry", "initialPose", "result", "advanced")


def section(host, name):
    return getattr(host.ui, f"{name}CollapsibleButton")


def is_open(host, name):
    return not section(host, name).collapsed


def register(host):
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def cut_off(host, widget):
    """Whether some of a widget is out of sight, as the panel stands in the window."""
    return widget.visibleRegion().boundingRect().size() != widget.rect.size()


def open_only(host, opened):
    for name in SECTIONS:
        section(host, name).collapsed = name != opened
    host.idle(0.1)


@pytest.mark.parametrize("window_px", [(1280, 800), (1900, 1150)])
def test_the_strip_is_in_sight_whatever_is_open(host, window_px):
    choose_case(host)
    register(host)
    host.open_window().resize(*window_px)
    for opened in SECTIONS:
        open_only(host, opened)
        for name in (*ALWAYS, "resultLineLabel"):
            assert not cut_off(host, getattr(host.ui, name)), (opened, name)
        assert host.ui.sectionsScrollArea.height >= 90, opened


def test_no_section_is_wider_than_the_panel(host):
    choose_case(host)
    register(host)
    host.ui.landmarksGroupBox.collapsed = False
    for opened in SECTIONS:
        open_only(host, opened)
        assert host.ui.sectionsWidget.width <= host.ui.sectionsScrollArea.viewport().width, opened
        assert host.ui.sectionsWidget.width <= 305, opened


def test_no_text_is_cut_off_however_long_it_is(host):
    choose_case(host, views=1)
    open_only(host, "result")
    label = host.ui.confidenceLabel
    label.text = " ".join(["It holds less of what can be seen than is needed."] * 6)
    host.idle(0.2)
    assert label.height >= label.heightForWidth(label.width) > 3 * label.fontMetrics().height()


def test_progress_is_in_sight_while_registering(host):
    choose_case(host)
    host.open_window().resize(1280, 800)
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.stageLabel.text, LONGEST_S)
    host.idle(0.05)
    assert not cut_off(host, host.ui.progressBar)
    host.press(host.ui.registerButton)


def test_only_images_stands_open_in_an_empty_scene(host):
    section(host, "advanced").collapsed = True  # which is left to the person
    assert [name for name in SECTIONS if is_open(host, name)] == ["images"]


def test_sections_fold_when_done_and_open_when_they_need_attention(host):
    choose_case(host, geometry=False, views=1)
    assert (is_open(host, "images"), is_open(host, "geometry")) == (False, True)
    host.ui.typicalGeometryButton.click()
    assert (is_open(host, "geometry"), is_open(host, "initialPose")) == (False, True)
    host.ui.sourceToIsocenterSpinBox.value = 5000  # beyond the detector
    assert is_open(host, "geometry")


def test_the_result_opens_and_a_good_one_folds_the_pose(host):
    choose_case(host)
    register(host)
    assert is_open(host, "result")
    low = host.ui.confidenceLabel.text.startswith("Low")
    assert is_open(host, "initialPose") is low


def test_a_section_in_use_does_not_fold_until_it_is_left(host):
    choose_case(host, geometry=False, views=1)
    host.open_window().activateWindow()
    host.ui.typicalGeometryButton.setFocus()
    host.wait(lambda: slicer.app.focusWidget() is host.ui.typicalGeometryButton)
    host.ui.typicalGeometryButton.click()
    assert is_open(host, "geometry")
    host.ui.registerButton.setFocus()
    host.wait(lambda: not is_open(host, "geometry"))


def test_a_section_that_a_person_opened_stays_open(host):
    choose_case(host)
    section(host, "geometry").collapsed = False
    host.ui.shiftLeftSlider.value = 3
    host.panel.panel.selection.update()
    assert is_open(host, "geometry")


def test_the_confidence_has_a_colour_that_is_read_on_light_and_dark(host):
    import qt

    choose_case(host)
    register(host)
    seen = {}
    label = host.ui.resultLineLabel
    before = label.palette
    for name, window in (("light", "#f0f0f0"), ("dark", "#202020")):
        palette = qt.QPalette(before)
        palette.setColor(qt.QPalette.Window, qt.QColor(window))
        label.setPalette(palette)
        host.panel.panel.selection.update()
        color = qt.QColor(label.text.partition("color: ")[2][:7])
        seen[name] = color.name()
        assert contrast(color, qt.QColor(window)) >= 4.5  # WCAG AA for text
    label.setPalette(before)
    assert seen["light"] != seen["dark"]
    assert "confidence" in label.text


def contrast(first, second):
    """Of two colours, as WCAG 2 defines it."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color):
    parts = (color.redF(), color.greenF(), color.blueF())
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_control_has_a_tooltip(host):
    import ctk
    import qt

    kinds = (qt.QAbstractButton, qt.QComboBox, qt.QAbstractSpinBox, qt.QTableWidget)
    composed = (slicer.qMRMLNodeComboBox, ctk.ctkSliderWidget, ctk.ctkPathLineEdit)
    headers = (ctk.ctkCollapsibleButton,)
    without = []
    for name, widget in vars(host.ui).items():
        if isinstance(widget, (*kinds, *composed)) and not isinstance(widget, headers) and name.isidentifier():
            inner = isinstance(widget.parentWidget(), (*composed, *kinds)) or name.startswith("qt_") or not name
            if not inner and not widget.toolTip:
                without.append(name)
    assert not without


def test_the_keyboard_walks_through_the_panel_from_images_to_register(host):
    choose_case(host)
    order, widget = [], host.ui.ctSelector
    for _ in range(400):
        order.append(widget.name)
        widget = widget.nextInFocusChain()
    wanted = ["xrayTable", "loadXrayButton", "geometryViewComboBox", "poseSelector", "methodComboBox", "registerButton"]
    places = [order.index(name) for name in wanted]
    assert places == sorted(places)


def test_undo_takes_back_an_edit_of_the_geometry(host):
    choose_case(host, views=1)
    host.ui.sourceToDetectorSpinBox.value = 1050
    host.ui.primaryAngleSpinBox.value = 10
    host.press(host.ui.undoButton)
    assert (host.ui.primaryAngleSpinBox.value, host.ui.sourceToDetectorSpinBox.value) == (0, 1050)
    host.press(host.ui.undoButton)
    assert host.ui.sourceToDetectorSpinBox.value == 1020
    assert host.ui.sourceToDetectorOriginLabel.text == "test"
    host.press(host.ui.redoButton)
    host.press(host.ui.redoButton)
    assert host.ui.primaryAngleSpinBox.value == 10


def test_no_x_rays_left_says_what_to_choose(host):
    choose_case(host)
    choose_xrays(host)
    assert "at least one X-ray" in host.ui.registerMessageLabel.text
    assert not cut_off(host, host.ui.registerMessageLabel)
