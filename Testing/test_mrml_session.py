"""Registrations of nodes that run a little at a time, single and of sequences, and what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import new_scene, volume_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler
from XrayCTRegistrationLib.mrml.history import History, Standing

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.inputs import frames_of_inputs, inputs_of  # noqa: E402
from XrayCTRegistrationLib.mrml.poses import initial_pose, pose_node_for, pose_of, set_pose  # noqa: E402
from XrayCTRegistrationLib.mrml.results import keep_result, kept_result  # noqa: E402
from XrayCTRegistrationLib.mrml.sample import sample_steps  # noqa: E402
from XrayCTRegistrationLib.mrml.scripted import register_nodes  # noqa: E402
from XrayCTRegistrationLib.mrml.sequences import add_pose_sequence, browser_of, frames_of, sequence_of  # noqa: E402
from XrayCTRegistrationLib.mrml.session import Session  # noqa: E402
from XrayCTRegistrationLib.mrml.volumes import vtk_image  # noqa: E402
from XrayCTRegistrationLib.mrml.xrays import own_view, place_at_detector  # noqa: E402
from XrayCTRegistrationLib.phantom import synthetic_spine  # noqa: E402
from XrayCTRegistrationLib.registration import Settings  # noqa: E402
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals  # noqa: E402
from XrayCTRegistrationLib.state import finished  # noqa: E402

ONE_PIXEL_MM = 0.8  # of the sample, at the detector


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def sample(scene, sample_made_once):
    return finished(sample_steps(scene))


def shift_mm(first: Pose, second: Pose) -> float:
    """How far two poses hold the sample's centre, its origin, apart."""
    return float(np.linalg.norm(first.translation_mm - second.translation_mm))


def started(sample, scene, settings: Settings | None = None) -> Session:
    inputs = inputs_of(sample.ct_node, sample.xray_nodes)
    node = pose_node_for(scene, sample.ct_node, Pose.identity())
    return Session(inputs, node, pose_of(node), settings or Settings())


def test_a_session_runs_step_by_step_to_the_true_pose(sample, scene):
    session = started(sample, scene)
    stages, progress = set(), [session.progress]
    while session.advance(0.0):
        stages.add(session.state.stage)
        progress.append(session.progress)
        assert pose_of(session.pose_node).matrix.tolist() == np.eye(4).tolist()  # only `show` writes
    assert stages == {"prepare", "search", "gradient", "report"}
    assert progress == sorted(progress)
    assert 0 == progress[0] < progress[-1] <= 1
    assert not session.running
    session.show()
    assert shift_mm(pose_of(session.pose_node), sample.true_pose) < ONE_PIXEL_MM


def test_a_cancelled_session_keeps_its_best_pose(sample, scene):
    session = started(sample, scene, Settings(method="cmaes"))
    while session.state is None or session.state.similarity < 0.2:
        assert session.advance(0.0)
    best = session.state.pose
    assert session.cancel() is best
    assert not session.running
    session.show()
    np.testing.assert_allclose(pose_of(session.pose_node).matrix, best.matrix, atol=1e-9)


def test_a_session_that_fails_has_ended_with_its_start(sample, scene):
    node = pose_node_for(scene, sample.ct_node, Pose.identity())
    set_pose(node, Pose.from_parts(np.eye(3), np.array([0.0, 0.0, 5000.0])))
    session = Session(inputs_of(sample.ct_node, sample.xray_nodes), node, pose_of(node), Settings())
    with pytest.raises(InputError, match="wholly outside the X-ray view"):
        session.advance(60.0)
    assert not session.running
    assert session.pose is session.start


def test_a_script_registers_and_keeps_the_result_with_the_pose(sample):
    result = register_nodes(sample.ct_node, sample.xray_nodes)
    node = sample.ct_node.GetParentTransformNode()
    assert shift_mm(pose_of(node), sample.true_pose) < ONE_PIXEL_MM
    kept = kept_result(node)
    assert kept.is_of(pose_of(node))
    assert kept.similarity == result.similarity
    assert kept.polarities == ("bright", "bright")  # as the sample's radiographs are
    assert kept.logarithmic == (True, True)
    np.testing.assert_allclose(initial_pose(node).matrix, np.eye(4), atol=1e-12)
    set_pose(node, sample.true_pose.moved(np.array([0, 0, 0, 1.0, 0, 0]), np.zeros(3)))
    assert not kept.is_of(pose_of(node))


def test_a_script_can_cancel(sample):
    states = []
    result = register_nodes(
        sample.ct_node, sample.xray_nodes, progress=lambda state: states.append(state) or len(states) < 4
    )
    assert result is None
    assert len(states) == 4
    np.testing.assert_allclose(
        pose_of(sample.ct_node.GetParentTransformNode()).matrix, states[-1].pose.matrix, atol=1e-9
    )
    assert kept_result(sample.ct_node.GetParentTransformNode()) is None


def run_of(scene, xray_node, true_poses):
    """The X-ray node made into a run of frames of the phantom at these poses, the first shown."""
    ct = synthetic_spine(spacing_mm=3.0)
    view = own_view(xray_node)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "run")
    for number, pose in enumerate(true_poses):
        counts = detector_counts(line_integrals(ct, view, pose), 20000.0, np.random.default_rng(number))
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(f"frame {number}")
        frame.SetAndObserveImageData(vtk_image(np.minimum(counts, 65535).astype(np.uint16)[None]))
        sequence.SetDataNodeAtValue(frame, str(number))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(xray_node, sequence, False)
    return browser


@pytest.fixture
def run(sample, scene):
    poses = [
        Pose.from_parts(rotation_from_euler(np.radians((0.0, 0.0, 2.0 * n))), np.array((3.0 * n, 0.0, -2.0 * n)))
        for n in range(3)
    ]
    return run_of(scene, sample.xray_nodes[0], poses), poses


def test_the_frames_of_a_run_are_found_and_placed_with_the_xray(sample, run):
    browser, poses = run
    node = sample.xray_nodes[0]
    assert browser_of(node) is browser
    assert len(frames_of(node)) == len(poses)
    assert browser_of(sample.xray_nodes[1]) is None
    place_at_detector(node, own_view(node))
    for frame in frames_of(node):
        import vtk

        first, second = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        frame.GetIJKToRASMatrix(first)
        node.GetIJKToRASMatrix(second)
        for i in range(4):
            for j in range(4):
                assert first.GetElement(i, j) == pytest.approx(second.GetElement(i, j), abs=1e-9)


def test_a_run_is_registered_frame_by_frame_into_a_transform_sequence(sample, scene, run):
    browser, poses = run
    xrays = sample.xray_nodes[:1]
    inputs = inputs_of(sample.ct_node, xrays)
    node = pose_node_for(scene, sample.ct_node, Pose.identity())
    session = Session(inputs, node, pose_of(node), Settings(), frames_of_inputs(xrays))
    frames = []
    while session.advance(0.0):
        frames.append(session.frame)
    assert frames == sorted(frames)
    assert set(frames) == {0, 1, 2}
    for result, true in zip(session.results, poses, strict=True):
        assert shift_mm(result.pose, true) < 3.0  # one view: depth is the weakest
    sequence = add_pose_sequence(xrays[0], node, [result.pose for result in session.results])
    assert sequence.GetNumberOfDataNodes() == 3
    assert browser.GetSequenceNode(node) is sequence
    for index, result in enumerate(session.results):
        np.testing.assert_allclose(pose_of(sequence.GetNthDataNode(index)).matrix, result.pose.matrix, atol=1e-9)
        assert sequence.GetNthIndexValue(index) == sequence_of(xrays[0]).GetNthIndexValue(index)


def test_a_run_cancelled_half_way_keeps_the_frames_that_are_done(sample, scene, run):
    xrays = sample.xray_nodes[:1]
    node = pose_node_for(scene, sample.ct_node, Pose.identity())
    session = Session(inputs_of(sample.ct_node, xrays), node, pose_of(node), Settings(), frames_of_inputs(xrays))
    while session.frame < 1:
        assert session.advance(0.0)
    session.cancel()
    assert len(session.results) == 1
    add_pose_sequence(xrays[0], node, [result.pose for result in session.results])
    assert browser_of(xrays[0]).GetSequenceNode(node).GetNumberOfDataNodes() == 1


def test_a_single_image_is_no_run(sample):
    with pytest.raises(InputError, match="Lateral X-ray: this is a single image"):
        frames_of_inputs(sample.xray_nodes[1:])


def test_a_result_is_kept_across_sessions_of_its_node(sample, scene):
    session = started(sample, scene, Settings(method="gradient"))
    while session.advance(1.0):
        pass
    kept = keep_result(session.pose_node, session.results[0], "gradient")
    assert kept_result(session.pose_node) == kept


def test_history_goes_back_and_forward_and_forgets_what_was_undone():
    first, second, third = (Standing(Pose.from_parts(np.eye(3), np.array([x, 0.0, 0.0]))) for x in (1.0, 2.0, 3.0))
    history = History()
    assert not history.can_undo
    for standing in (first, second, second):  # noted once
        history.record(standing)
    assert history.undo() is first
    assert not history.can_undo
    assert history.redo() is second
    assert not history.can_redo
    history.undo()
    history.record(third)
    assert not history.can_redo
    assert history.undo() is first


def test_choosing_another_xray_is_no_step_to_go_back_over(sample):
    pose, history = Pose.identity(), History()
    history.record(Standing.of(pose, sample.xray_nodes[:1]))
    history.record(Standing.of(pose, sample.xray_nodes))
    assert not history.can_undo


def test_history_brings_back_the_geometry_that_was_edited(sample):
    from XrayCTRegistrationLib.mrml.geometry import set_entry

    xray = sample.xray_nodes[0]
    before, view = Standing.of(Pose.identity(), sample.xray_nodes), own_view(xray)
    set_entry(xray, "source_to_detector_mm", 1100.0)
    assert not Standing.of(Pose.identity(), sample.xray_nodes).is_as(before)
    before.restore_geometries(sample.xray_nodes)
    np.testing.assert_allclose(own_view(xray).source, view.source, atol=1e-9)
    np.testing.assert_allclose(own_view(xray).pixel_to_world, view.pixel_to_world, atol=1e-9)
    assert Standing.of(Pose.identity(), sample.xray_nodes).is_as(before)


def read_node(scene, kind: str, storage_kind: str, path):
    """A node read by Slicer's own reader."""
    node = scene.AddNewNodeByClass(kind, path.name)
    storage = getattr(slicer, storage_kind)()
    storage.SetFileName(str(path))
    scene.AddNode(storage)
    assert storage.ReadData(node), path
    return node


def test_a_real_wrist_read_by_slicers_own_readers_stays_at_its_reference(scene, shared_data):
    """CT, X-rays and reference as files that agree only if all conversions between RAS and LPS are right."""
    from XrayCTRegistrationLib.io.radiographs import read_radiograph
    from XrayCTRegistrationLib.mrml.geometry import read_geometry

    folder = shared_data / "xray" / "wrist"
    ct = read_node(scene, "vtkMRMLScalarVolumeNode", "vtkMRMLNRRDStorageNode", folder / "rad_ct.nrrd")
    xrays = []
    for camera in ("cam1", "cam2"):
        pixels = read_radiograph(folder / f"frame0099_{camera}.png").pixels  # slicer-core reads no PNG
        xray = volume_node(scene, camera, pixels[None], np.eye(4))
        read_geometry(xray, folder / f"{camera}.json")
        xrays.append(xray)
    pose_node = read_node(
        scene, "vtkMRMLLinearTransformNode", "vtkMRMLTransformStorageNode", folder / "rad_reference_pose.tfm"
    )
    reference = pose_of(pose_node)
    result = register_nodes(ct, xrays, pose_node, Settings())
    assert ct.GetTransformNodeID() == pose_node.GetID()
    assert result.moved_deg < 2.5  # how far the reference itself is known, see the data's README
    assert result.moved_mm < 1.5
    assert (result.pose @ reference.inverse()).rotation_angle_deg() == pytest.approx(result.moved_deg, abs=1e-6)
