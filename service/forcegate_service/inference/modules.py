"""What the inference process opens: files whose digests are compared with what was asked for."""

from __future__ import annotations

import io
from pathlib import Path

from forcegate_service.card import ModelCard, content_digest
from forcegate_service.compiled import CompiledModule
from forcegate_service.errors import ModelRefused
from forcegate_service.inference.child import Module
from forcegate_service.torchscript import load_script

__all__ = ["VerifiedModules"]


class VerifiedModules:
    """Opens versions and packages on ``device``; what was verified is what is loaded."""

    def __init__(self, device: str) -> None:
        self.device = device

    def script(self, folder: Path, digest: str) -> Module:
        """The TorchScript of the version in ``folder``.

        Raises:
            ModelRefused: if it is not the version that has this ``digest``.
        """
        card = ModelCard.load(folder)
        if card.digest != digest:
            raise ModelRefused(
                f"{folder} with the digest {card.digest}",
                expected=digest,
                action="restore the version; weights that change get a new number",
            )
        return load_script(card.read(folder), self.device)

    def package(self, path: Path, digest: str) -> Module:
        """A compiled package.

        Raises:
            ModelRefused: if its content is not what has this ``digest``.
        """
        content = path.read_bytes()
        received = content_digest(content)
        if received != digest:
            raise ModelRefused(
                f"{path}: {received}", expected=digest, action="compile the model again"
            )
        # What was verified is what is loaded, even if the file changes in between.
        return CompiledModule(io.BytesIO(content))
