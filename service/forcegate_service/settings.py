"""Everything about the server that can be set, from ``FORCEGATE_*`` or the command line."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from forcegate_service.contract.card import VERDICTS, Judged
from forcegate_service.machine import usable_cores

__all__ = ["Settings", "is_loopback"]

MIB = 1024 * 1024
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?")
_PIN = re.compile(r"([a-z0-9_]+/[1-9][0-9]*)=(sha256:[0-9a-f]{64})")


def _default_torch_threads() -> int:
    # One core stays free for the event loop and the neighbour lists.
    return max(1, usable_cores() - 1)


def _default_awake_s() -> float:
    # The client's part of a step of dynamics is shorter. A single core has better things to do.
    return 0.003 if usable_cores() > 1 else 0.0


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
    keys_file: Path | None = Field(
        None, description="file of the keys that are let in, made by forcegate-serve keys"
    )
    allow_anonymous: bool = Field(
        False, description="let requests without a key in, from other machines too"
    )
    allowed_hosts: str | None = Field(
        None, description="names that the server answers to beside localhost, comma-separated"
    )
    trusted_proxies: str | None = Field(
        None,
        description="addresses or networks of proxies whose X-Forwarded-For is believed, "
        "comma-separated",
    )
    public_metrics: bool = Field(
        False, description="answer /metrics without a key although keys are in force"
    )
    public_docs: bool = Field(
        False, description="answer /docs and /openapi.json without a key although keys are in force"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the certificate, with which the server speaks https"
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key")
    cors_origins: str | None = Field(
        None,
        description="origins whose pages may ask from browsers, as https://host:port, "
        "comma-separated",
    )
    model_repository: Path = Field(
        Path("model_repository"), description="folder with <model>/<version>/ in it"
    )
    default_model: str | None = Field(None, description="model that the name default stands for")
    model_digests: str | None = Field(
        None, description="versions to insist on, as model/version=card_digest, comma-separated"
    )
    require_approval: str | None = Field(
        None, description="uses that a model must be approved for, comma-separated"
    )
    runtime: Literal["embedded", "triton", "in-process", "fake"] = Field(
        "embedded",
        description="what evaluates models: a process beside the gateway, Triton servers, "
        "the gateway's own process, or a toy for tests",
    )
    triton_url: str = Field(
        "127.0.0.1:8001",
        description="host:port of Triton's gRPC, comma-separated; each address of a name is a "
        "server of its own",
    )
    triton_timeout_s: PositiveFloat = Field(
        30.0, description="time after which a Triton server that does not answer counts as lost"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what evaluates the embedded runtime's models; auto takes a GPU if any"
    )
    torch_threads: PositiveInt = Field(
        default_factory=_default_torch_threads,
        description="threads of one inference; by default all cores but one",
    )
    inference_timeout_s: PositiveFloat = Field(
        60.0, description="time after which an inference process that does not answer is ended"
    )
    inference_awake_s: Annotated[float, Field(ge=0, le=1)] = Field(
        default_factory=_default_awake_s,
        description="time after a batch for which the inference process stays awake for the next",
    )
    batch_edges: PositiveInt = Field(
        60_000, description="edges and atoms that one batch holds at most"
    )
    batch_target_s: PositiveFloat = Field(
        0.05, description="predicted seconds that one batch holds at most"
    )
    queue_budget_s: PositiveFloat = Field(
        10.0,
        description="predicted seconds of work that may wait; beyond it requests are refused "
        "with 429",
    )
    request_timeout_s: PositiveFloat = Field(
        300.0, description="longest time a request may take unless it asks for less"
    )
    run_timeout_s: PositiveFloat = Field(
        86_400.0, description="longest time of one stream of dynamics or relaxation"
    )
    run_buffer_bytes: PositiveInt = Field(
        MIB, description="bytes of a stream that may wait for its client before its runs pause"
    )
    max_run_structures: PositiveInt = Field(
        1000, description="structures that one request may have moved"
    )
    max_live_structures: PositiveInt = Field(4000, description="structures that move at a time")
    max_live_structures_per_caller: PositiveInt = Field(
        2000, description="structures of one caller that move at a time"
    )
    max_live_atoms: PositiveInt = Field(400_000, description="atoms that move at a time")
    connection_age_s: PositiveFloat = Field(
        600.0, description="age after which a connection ends with its next answer"
    )
    max_connections: PositiveInt = Field(8192, description="connections at a time")
    max_connections_per_address: PositiveInt = Field(
        4096, description="connections of one address at a time, trusted proxies apart"
    )
    max_atoms: PositiveInt = Field(100_000, description="atoms in one request")
    max_structures: PositiveInt = Field(10_000, description="structures in one request")
    max_edges: PositiveInt = Field(
        10_000_000, description="pairs of neighbours listed for one request, which bound its memory"
    )
    max_structure_s: PositiveFloat = Field(
        10.0, description="predicted seconds of one structure, for which all others wait"
    )
    max_structure_mib: PositiveInt = Field(
        2048, description="predicted MiB that the evaluation of one structure takes"
    )
    max_body_bytes: PositiveInt = Field(64 * MIB, description="bytes of a msgpack body")
    max_json_bytes: PositiveInt = Field(16 * MIB, description="bytes of a JSON body")
    max_buffered_bytes: PositiveInt = Field(
        512 * MIB, description="bytes of all bodies together that are being read or computed"
    )
    drift_window_s: PositiveFloat = Field(
        3600.0, description="time over which requests are compared with the training set"
    )
    drift_min_structures: PositiveInt = Field(
        500, description="structures that were watched lately before anything is said of them"
    )
    drain_timeout_s: Annotated[int, Field(gt=0)] = Field(
        60, description="time that running requests have to finish after SIGTERM"
    )
    shadow_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of structures that are put aside for the teacher to label; 0: none"
    )
    shadow_dir: Path | None = Field(
        None, description="folder of structures for the teacher; forcegate-train shadow reads it"
    )
    shadow_max_atoms: PositiveInt = Field(
        60, description="atoms of the largest structure that the teacher is asked about"
    )
    shadow_max_files: PositiveInt = Field(
        1000, description="files that wait for the teacher at most; more structures are dropped"
    )
    shadow_max_bytes: PositiveInt = Field(
        64 * MIB, description="bytes of all files together that wait for the teacher at most"
    )
    capture_dir: Path | None = Field(
        None, description="folder for structures that the models do badly on, to be learned from"
    )
    capture_novelty: PositiveFloat | None = Field(
        None, description="novelty above which a structure is captured; by default the card's own"
    )
    capture_uncertainty: PositiveFloat | None = Field(
        None, description="uncertainty (eV per atom) above which a structure is captured"
    )
    capture_force_rmse: PositiveFloat | None = Field(
        None, description="force error (eV/Å, by the teacher) above which a structure is captured"
    )
    capture_max_structures: PositiveInt = Field(
        5000, description="structures that are captured at most"
    )
    capture_max_bytes: PositiveInt = Field(
        256 * MIB, description="bytes of all captured structures together at most"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least severe message that is logged"
    )
    access_log: bool = Field(
        False, description="log a line for every request, those that went well too"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="lines of text, or one JSON object a line"
    )

    @property
    def pinned_digests(self) -> Mapping[str, str]:
        """``model_digests`` taken apart: ``model/version`` to ``sha256:…``."""
        return _pins(self.model_digests or "")

    @property
    def asking_origins(self) -> tuple[str, ...]:
        """``cors_origins`` taken apart, in lower case as browsers write them."""
        return tuple(origin.lower() for origin in _items(self.cors_origins or ""))

    @property
    def required_approvals(self) -> frozenset[Judged]:
        """``require_approval`` taken apart."""
        return _uses(self.require_approval or "")

    @property
    def answered_hosts(self) -> frozenset[str]:
        """``allowed_hosts`` taken apart, in lower case."""
        return frozenset(item.lower() for item in _items(self.allowed_hosts or ""))

    @property
    def proxy_networks(self) -> list[str]:
        """``trusted_proxies`` taken apart."""
        return _items(self.trusted_proxies or "")

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        open_to_all = self.keys_file is None and not self.allow_anonymous
        if open_to_all and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and anybody could use it; "
                "expected a loopback address such as 127.0.0.1, or keys; make one with "
                "`forcegate-serve keys create` and give its --keys-file (FORCEGATE_KEYS_FILE), or "
                "add --allow-anonymous (FORCEGATE_ALLOW_ANONYMOUS=true) if that is intended"
            )
        return self

    @model_validator(mode="after")
    def _refuse_half_of_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, missing = "FORCEGATE_TLS_CERTIFICATE", "FORCEGATE_TLS_KEY"
            if self.tls_certificate is None:
                given, missing = missing, given
            raise ValueError(
                f"{given} without {missing}; expected both or neither; set {missing} as well"
            )
        return self

    @model_validator(mode="after")
    def _refuse_hasty_timeouts(self) -> Self:
        if self.inference_timeout_s <= self.max_structure_s:
            raise ValueError(
                f"a FORCEGATE_INFERENCE_TIMEOUT_S of {self.inference_timeout_s:g}, within which a "
                f"structure of FORCEGATE_MAX_STRUCTURE_S {self.max_structure_s:g} may not be done; "
                "expected a longer time, such as six times that; raise the first or lower the other"
            )
        return self

    @model_validator(mode="after")
    def _refuse_shadows_without_place(self) -> Self:
        if self.shadow_fraction and self.shadow_dir is None:
            raise ValueError(
                f"a FORCEGATE_SHADOW_FRACTION of {self.shadow_fraction:g} without "
                "FORCEGATE_SHADOW_DIR; expected a folder for the structures; set it as well"
            )
        return self

    @field_validator("allowed_hosts")
    @classmethod
    def _refuse_strange_hosts(cls, text: str | None) -> str | None:
        return _all_like(
            _HOST,
            text,
            "the host {item!r}; expected names such as gateway.example.org or addresses such as "
            "[::1], without scheme, port or path, separated by commas",
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _refuse_strange_proxies(cls, text: str | None) -> str | None:
        for item in _items(text or ""):
            try:
                ipaddress.ip_network(item)
            except ValueError as error:
                raise ValueError(
                    f"the proxy {item!r} ({error}); expected addresses such as 10.0.0.7 or "
                    "networks such as 10.0.0.0/24, separated by commas; names are not looked up"
                ) from None
        return text

    @field_validator("triton_url")
    @classmethod
    def _refuse_strange_addresses(cls, text: str) -> str:
        for item in _items(text) or [text]:
            host, _, port = item.rpartition(":")
            if not host or "/" in item or not (port.isdecimal() and 0 < int(port) < 65536):
                raise ValueError(
                    f"{item!r}; expected host:port of Triton's gRPC service, without a scheme; "
                    "Triton listens for gRPC on port 8001 unless told otherwise"
                )
        return text

    @field_validator("cors_origins")
    @classmethod
    def _refuse_strange_origins(cls, text: str | None) -> str | None:
        return _all_like(
            _ORIGIN,
            text,
            "the origin {item!r}; expected scheme and host, such as https://lab.example.org or "
            "http://localhost:3000, without a path; every origin has to be named",
        )

    @field_validator("model_digests")
    @classmethod
    def _refuse_strange_pins(cls, text: str | None) -> str | None:
        _pins(text or "")
        return text

    @field_validator("require_approval")
    @classmethod
    def _refuse_strange_uses(cls, text: str | None) -> str | None:
        _uses(text or "")
        return text


def _pins(text: str) -> Mapping[str, str]:
    pins: dict[str, str] = {}
    for item in _items(text):
        match = _PIN.fullmatch(item)
        if match is None:
            raise ValueError(
                f"the pin {item!r}; expected <model>/<version>=sha256:<64 digits of 0-9 and a-f>; "
                "GET /v1/models shows the digests"
            )
        version, digest = match.groups()
        if pins.setdefault(version, digest) != digest:
            raise ValueError(f"two digests of {version}; expected one; leave one of them out")
    return pins


def _uses(text: str) -> frozenset[Judged]:
    known: dict[str, Judged] = {use: use for use in VERDICTS}
    strange = [item for item in _items(text) if item not in known]
    if strange:
        raise ValueError(
            f"the use {strange[0]!r}; expected some of {', '.join(known)}, separated by commas; "
            "leave it out"
        )
    return frozenset(known[item] for item in _items(text))


def _all_like(pattern: re.Pattern[str], text: str | None, refusal: str) -> str | None:
    """``text`` if all its items match; ``refusal`` has a place for one that does not."""
    for item in _items(text or ""):
        if not pattern.fullmatch(item):
            raise ValueError(refusal.format(item=item))
    return text


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def is_loopback(host: str) -> bool:
    """Whether only this machine can be at the address, or the name, ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
