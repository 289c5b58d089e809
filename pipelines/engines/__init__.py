"""What runs a forward pass."""
