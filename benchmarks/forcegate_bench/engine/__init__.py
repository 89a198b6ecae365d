"""What is measured of students in this process."""
