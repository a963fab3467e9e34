"""What executes a pipeline."""
