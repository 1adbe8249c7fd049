"""Golden records: what the package does at a base commit and in the working tree, side by side."""
