"""Who may ask: keys, the file they are kept in, and what a request's key allows."""
