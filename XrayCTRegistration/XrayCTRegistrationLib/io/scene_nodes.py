"""The nodes of a 3D Slicer scene as the XML of a MRML file."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

_RGB_WINDOW_LEVEL = (255.0, 127.5)  # colours as they are


class SceneNodes:
    """The MRML elements of a scene while it is put together: counts ids and keeps names apart."""

    def __init__(self) -> None:
        # Slicer warns about scenes of a newer version than its own; 5.10 knows all that stands here.
        self._root = ElementTree.Element("MRML", version="Slicer 5.10.0 0")
        self._counts: dict[str, int] = {}
        self._names: set[str] = set()

    def xml(self) -> str:
        ElementTree.indent(self._root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(self._root, encoding="unicode")

    def add_transform(self, name: str, file_name: str, parent: str | None = None) -> str:
        """A linear transform node, under the node `parent` if given; returns its id."""
        return self._displayed("LinearTransform", name, self._storage("TransformStorage", file_name) + _under(parent))

    def add_volume(
        self,
        name: str,
        file_name: str,
        window_level: tuple[float, float] | None = None,
        transform: str | None = None,
        attributes: str = "",
    ) -> str:
        """A scalar volume, under the node `transform` if given; Slicer chooses a window if none is. Returns its id."""
        display = self._volume_display("VolumeDisplay", name, window_level, colorNodeID="vtkMRMLColorTableNodeGrey")
        references = display + self._storage("NRRDStorage", file_name) + _under(transform)
        return self._displayed("Volume", name, references, **({"attributes": attributes} if attributes else {}))

    def add_overlay(self, name: str, file_name: str) -> str:
        """An RGB volume; returns its id."""
        references = self._volume_display("VectorVolumeDisplay", name, _RGB_WINDOW_LEVEL)
        references += self._storage("NRRDStorage", file_name)
        return self._displayed("VectorVolume", name, references, voxelVectorType="colorRGB")

    def add_model(self, name: str, file_name: str, color: tuple[float, float, float], transform: str) -> str:
        """A surface in LPS under the node `transform`; returns its id."""
        shown = {"color": words(np.array(color)), "visibility2D": "true"}
        display = self._add("ModelDisplay", f"{name} display", hideFromEditors="true", **shown)
        storage = self._storage("ModelStorage", file_name, coordinateSystem="LPS")
        return self._displayed("Model", name, f"display:{display};{storage}{_under(transform)}")

    def add_point(self, name: str, file_name: str) -> str:
        """A locked list of points; returns its id."""
        display = self._add("MarkupsFiducialDisplay", f"{name} display", hideFromEditors="true")
        storage = self._storage("MarkupsJsonStorage", file_name)
        return self._displayed("MarkupsFiducial", name, f"display:{display};{storage}", locked="true")

    def add_slice_view(self, layout_name: str, to_ras: np.ndarray, field_mm: float, background: str) -> None:
        """A slice view that stands at a detector, in 3D too, and shows the volume `background`.

        to_ras: 4x4 SliceToRAS. field_mm: side of what it shows, square, since the window's shape is not known here.
        """
        singleton = {"singletonTag": layout_name, "layoutName": layout_name}
        self._add(
            "Slice",
            layout_name,
            id=f"vtkMRMLSliceNode{layout_name}",
            fieldOfView=f"{field_mm!r} {field_mm!r} 1",
            dimensions="256 256 1",
            sliceToRAS=words(to_ras),
            sliceVisibility="true",
            **singleton,
        )
        self._add(
            "SliceComposite",
            f"{layout_name} composite",
            id=f"vtkMRMLSliceCompositeNode{layout_name}",
            hideFromEditors="true",
            references=f"backgroundVolume:{background};",
            **singleton,
        )

    def _displayed(self, kind: str, name: str, references: str, **attributes: str) -> str:
        """A node that people see in lists: its name is made different from all others."""
        unique, number = name, 1
        while unique.lower() in self._names:
            number += 1
            unique = f"{name} ({number})"
        self._names.add(unique.lower())
        return self._add(kind, unique, references=references, **attributes)

    def _volume_display(self, kind: str, name: str, window_level: tuple[float, float] | None, **attributes: str) -> str:
        """A volume's display node, as the reference to it."""
        attributes["autoWindowLevel"] = "1" if window_level is None else "0"
        if window_level is not None:
            attributes["window"], attributes["level"] = (repr(value) for value in window_level)
        return f"display:{self._add(kind, f'{name} display', hideFromEditors='true', **attributes)};"

    def _storage(self, kind: str, file_name: str, **attributes: str) -> str:
        """A storage node, as the reference to it. Never VolumeArchetypeStorage: it reorders a left-handed CT."""
        file_name = f"Data/{file_name}"
        attributes |= {"hideFromEditors": "true", "fileName": file_name, "useCompression": "1"}
        node = self._add(kind, file_name, **attributes)
        return f"storage:{node};"

    def _add(self, kind: str, name: str, id: str | None = None, **attributes: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        node_class = {"Volume": "ScalarVolume", "VolumeDisplay": "ScalarVolumeDisplay"}.get(kind, kind)
        node_id = id or f"vtkMRML{node_class}Node{self._counts[kind]}"
        ElementTree.SubElement(self._root, kind, {"id": node_id, "name": _printable(name), **attributes})
        return node_id


def words(matrix: np.ndarray) -> str:
    """Numbers as MRML writes them."""
    return " ".join(repr(float(value)) for value in matrix.ravel())


def _under(transform: str | None) -> str:
    """The reference to a parent transform, if there is one."""
    return "" if transform is None else f"transform:{transform};"


def _printable(text: str) -> str:
    """Without the control characters that no XML file may hold."""
    return "".join(character for character in text if character.isprintable())
