"""MRML nodes to the library's types and back: the only place that knows both.

Nodes live in RAS, the library works in LPS; `frames` turns one into the other, and nothing else does. slicer and vtk
are imported where they are used, so that the library can be imported without them.
"""
