"""The inference process: models evaluated beside the gateway, fed through shared memory."""
