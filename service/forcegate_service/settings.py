"""Everything about the server that can be set, from ``FORCEGATE_*`` or the command line."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from forcegate_service.compilation.cache import default_cache_dir

__all__ = ["Settings"]

MIB = 1024 * 1024
PositiveInt = Annotated[int, Field(gt=0)]


def _default_torch_threads() -> int:
    # One core stays free for the event loop and the neighbour lists.
    return max(1, len(os.sched_getaffinity(0)) - 1)


class Settings(BaseSettings):
    """The settings of ``forcegate-serve``; ``docs/settings.md`` explains each of them."""

    model_config = SettingsConfigDict(
        env_prefix="FORCEGATE_", extra="forbid", frozen=True, protected_namespaces=()
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8000, description="port to listen on; 0 takes a free one"
    )
    port_file: Path | None = Field(
        None, description="file to write the port to once models are served"
    )
    allow_anonymous: bool = Field(
        False, description="listen on an address that other machines reach, without keys"
    )
    model_repository: Path = Field(
        Path("model_repository"), description="folder with <model>/<version>/ in it"
    )
    runtime: Literal["embedded", "in-process", "fake"] = Field(
        "embedded",
        description="what evaluates models: a process beside the gateway, TorchScript in the "
        "gateway's own, or a toy for tests",
    )
    compile: Literal["auto", "never"] = Field(
        "auto", description="whether models are compiled for this machine while TorchScript serves"
    )
    cache_dir: Path = Field(
        default_factory=default_cache_dir, description="folder in which compiled models are kept"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what evaluates the embedded runtime's models; auto takes a GPU if any"
    )
    torch_threads: PositiveInt = Field(
        default_factory=_default_torch_threads,
        description="threads of one inference; by default all cores but one",
    )
    batch_edges: PositiveInt = Field(
        20_000, description="edges and atoms that one batch holds at most"
    )
    max_atoms: PositiveInt = Field(100_000, description="atoms in one request")
    max_structures: PositiveInt = Field(10_000, description="structures in one request")
    max_edges: PositiveInt = Field(
        10_000_000, description="pairs of neighbours in one request, which bound its memory"
    )
    max_body_bytes: PositiveInt = Field(64 * MIB, description="bytes of a msgpack body")
    max_json_bytes: PositiveInt = Field(16 * MIB, description="bytes of a JSON body")
    drain_timeout_s: Annotated[int, Field(gt=0)] = Field(
        60, description="time that running requests have to finish after SIGTERM"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least severe message that is logged"
    )

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        if not self.allow_anonymous and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and anybody could use it; "
                "expected a loopback address such as 127.0.0.1; "
                "add --allow-anonymous (FORCEGATE_ALLOW_ANONYMOUS=true) if that is intended"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
