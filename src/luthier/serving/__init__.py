"""One process that answers HTTP: MLflow's scoring protocol over the engine."""
