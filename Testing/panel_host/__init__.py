"""A small host that loads a scripted module of 3D Slicer, its real .py and .ui, without 3D Slicer.

Real here: MRML, its logics and displayable managers, VTK rendering and `slicer.util`, all from slicer-core; Qt, from
PySide6. Stand-ins: PythonQt's idioms (pythonqt.py), CTK and qMRML widgets, `slicer.app`, the layout manager,
ScriptedLoadableModule, parameterNodeWrapper, i18n, packaging and PyTorchUtils. A stand-in offers only names that the
real thing has; test_panel_host.py compares them with a list taken from a running 3D Slicer.

What passes here can still fail in 3D Slicer, and only 3D Slicer shows it:
- time: its event loop holds the interpreter lock, rendering on screen is slower or faster, PythonQt's calls cost more;
- Qt 5, or a name that PythonQt leaves out or wraps differently for a plain Qt class;
- the DICOM database and browser, loading and saving of single files, file dialogs;
- the dialogs that install packages, and a restart after them;
- mouse and keys in the views: handles of a transform, placing of markups, window and level;
- saving through the Save dialog, undo of the scene, other modules that act on the same nodes;
- style: fonts, dark theme, high resolution screens, the size of the module panel.
"""

from .host import Host, running_host

__all__ = ["Host", "running_host"]
