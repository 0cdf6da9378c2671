"""What each stage does: a folder a stage, a file a method, and the one way a stage runs."""
