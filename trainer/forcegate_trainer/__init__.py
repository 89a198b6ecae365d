"""Distils a teacher potential into PaiNN students."""
