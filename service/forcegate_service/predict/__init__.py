"""The way of a request for predictions, from its body to its answer; ``flow`` has it all."""
