"""What runs of molecular dynamics say of themselves."""
