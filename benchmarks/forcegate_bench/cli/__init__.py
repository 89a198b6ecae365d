"""The command and what stands around each measurement."""
