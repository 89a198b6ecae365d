"""A sample of live structures for a teacher to label, and how far the student is from it."""
