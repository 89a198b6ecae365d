"""What the benchmarks share: structures, clocks, rows, and one module for each thing measured."""
