"""What evaluates models: the engine wherever it can, TorchScript where it cannot."""
