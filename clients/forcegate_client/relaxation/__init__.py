"""Many structures brought to their minima at once, in batches that a server answers."""

from forcegate_client.relaxation.batched import relax_batched
from forcegate_client.relaxation.outcome import Evaluate, Relaxed
from forcegate_client.relaxation.remote import RemoteEvaluator, evaluator

__all__ = ["Evaluate", "Relaxed", "RemoteEvaluator", "evaluator", "relax_batched"]
