"""A forcegate server, asked over HTTP: clients with and without an event loop, ASE's calculator."""
