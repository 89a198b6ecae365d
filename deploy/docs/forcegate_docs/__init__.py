"""Pages of the site that are made from code, and those that lie outside docs/."""
