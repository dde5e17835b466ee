"""Rigid registration of a CT to X-ray images, without qt, slicer or MRML."""
