"""What σ and novelty are worth."""
