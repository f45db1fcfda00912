"""What was measured as an MLflow model: the flavor, the registry, promotion."""
