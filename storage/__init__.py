"""What is kept: Delta tables, states and releases, and how they are read."""
