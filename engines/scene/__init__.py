"""The procedural test scene: a world with memory that a single frame cannot tell."""

from engines.scene.scene import DEFAULT_SEED, Scene
from engines.scene.truth import LABELS, ObjectTruth, PersonTruth, Truth

__all__ = ["DEFAULT_SEED", "LABELS", "ObjectTruth", "PersonTruth", "Scene", "Truth"]
