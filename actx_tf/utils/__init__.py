"""What several parts of the package need: checks, files, imports."""
