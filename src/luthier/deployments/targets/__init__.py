"""Where a deployment can run: one file per target."""
