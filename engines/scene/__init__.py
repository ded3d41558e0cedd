"""The procedural test scene: a world with memory that a single frame cannot tell."""

from engines.scene.scene import Scene
from engines.scene.truth import LABELS, ObjectTruth, PersonTruth, Truth

__all__ = ["LABELS", "ObjectTruth", "PersonTruth", "Scene", "Truth"]
