"""What the selection tells its listeners of."""

from __future__ import annotations

from enum import Enum


class Change(Enum):
    """What listeners are told of. LOOKS is told after each of the others, too."""

    INPUTS = "images, masks or geometry: what would be registered"
    BONES = "which bones are registered each for itself, or what they are"
    CT_PREPARED = "the CT is ready to be shown, or cannot be used"
    BONES_PREPARED = "the chosen bones are ready to be shown"
    POSE = "where the CT and its bones stand"
    RUNNING = "a registration has begun or ended"
    PROGRESS = "how far work in the background is"
    LOOKS = "anything that the widgets of a section show"
