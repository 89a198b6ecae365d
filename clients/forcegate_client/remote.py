"""Dynamics and relaxation on a server, by the name that scripts import."""

from forcegate_client.md.remote import RemoteDynamics, RemoteReplicas
from forcegate_client.md.remote_async import AsyncRemoteDynamics
from forcegate_client.relaxation.served import AsyncRemoteRelaxation, RemoteRelaxation

__all__ = [
    "AsyncRemoteDynamics",
    "AsyncRemoteRelaxation",
    "RemoteDynamics",
    "RemoteRelaxation",
    "RemoteReplicas",
]
