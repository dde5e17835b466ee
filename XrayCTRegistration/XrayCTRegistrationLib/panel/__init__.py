"""The Slicer panel: widgets and the nodes they show. Imports qt, slicer and ctk; what needs torch is imported late."""
