"""What all rooms speak of: structures and their neighbours, models' cards, runtimes, errors."""
