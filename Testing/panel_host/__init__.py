"""A small host that loads a scripted module of 3D Slicer, its real .py and .ui, without 3D Slicer.

Real here: MRML, its logics and displayable managers, VTK rendering, the reader of volumes and `slicer.util`, all from
slicer-core; Qt, from PySide6. Stand-ins: PythonQt's idioms (pythonqt.py), CTK and qMRML widgets, `slicer.app`, the
layout manager, ScriptedLoadableModule, parameterNodeWrapper, i18n, packaging and PyTorchUtils. A stand-in offers only
names that the real thing has; test_panel_host.py compares them with a list taken from a running 3D Slicer.

As in a fresh 3D Slicer there are no views until a layout is chosen; files numbered beside each other load as one
volume; views are drawn when something asks for it, and `Host.rendering` says what a drawing costs and counts them; file
dialogs and drops come from the test.

What passes here can still fail in 3D Slicer, and only 3D Slicer shows it:
- time: its event loop holds the interpreter lock, PythonQt's calls cost more, and software rendering takes processor
  time where a simulated cost only waits;
- Qt 5, or a name that PythonQt leaves out or wraps differently for a plain Qt class;
- the DICOM database and browser, saving of single files, what file dialogs look like, what 3D Slicer itself does with
  files dropped onto it; its reader for PNG, TIFF, JPEG and DICOM, which slicer-core lacks;
- the dialogs that install packages, and a restart after them;
- mouse and keys in the views: handles of a transform, placing of markups, window and level;
- saving through the Save dialog, undo of the scene, other modules that act on the same nodes;
- style: fonts, dark theme, high resolution screens, the size of the module panel.
"""

from .host import Host, running_host

__all__ = ["Host", "running_host"]
