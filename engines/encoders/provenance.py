"""Where an encoder comes from, as manifests tell it."""

from __future__ import annotations

from engines.encoders import PretrainedInfo, find_encoder


def encoder_facts(name: str) -> dict[str, object]:
    """Its name, the SHA-256 of pretrained weights, and who trained them; raises ConfigError for an unknown one."""
    info = find_encoder(name)
    weights = {"weights_sha256": info.weights.sha256} if isinstance(info, PretrainedInfo) else {}
    return {"name": info.name, **weights, "origin": info.origin}
