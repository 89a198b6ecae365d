"""What an exported student is worth, measured through the runtime that will serve it."""
