"""What the gateway knows of its models' health: novelty, drift, errors, and what was captured."""
