"""The load generator: requests made beforehand, closed and open loops, and what became of each."""
