"""What the operator can do, on a real database."""
