"""The machine: its cores, processes and processor."""
