"""Dynamics and relaxation on a server, by the name that scripts import."""

from forcegate_client.md.remote import RemoteDynamics, RemoteReplicas
from forcegate_client.md.remote_async import AsyncRemoteDynamics

__all__ = ["AsyncRemoteDynamics", "RemoteDynamics", "RemoteReplicas"]
