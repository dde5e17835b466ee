"""What the module added to the scene beside an image, so that it goes when the image goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .display import as_registered_node
from .models import beam_node, bone_node, show_model, surface_node
from .overlay import clear_edges, edge_colors_node, overlay_node


@dataclass(frozen=True)
class Shown:
    """A CT, X-ray or bone, and what shows it: references do not outlive the node, so they are held here."""

    owner: Any
    nodes: tuple[Any, ...]

    @classmethod
    def of(cls, owner: Any) -> Shown:
        """What belongs to a node that is in the scene."""
        roles = (as_registered_node, overlay_node, edge_colors_node, beam_node, bone_node, surface_node)
        nodes = (role(owner) for role in roles)
        return cls(owner, tuple(node for node in nodes if node is not None))

    def hide(self) -> None:
        """Show nothing of it, and keep it."""
        clear_edges(self.owner)
        for node in (beam_node(self.owner), bone_node(self.owner), surface_node(self.owner)):
            if node is not None:
                show_model(node, False)

    def remove(self) -> None:
        """Remove it from the scene."""
        for node in self.nodes:
            if node.GetScene() is not None:
                node.GetScene().RemoveNode(node)
