"""Servers in processes of their own: the gateway, and what is measured beside it."""
