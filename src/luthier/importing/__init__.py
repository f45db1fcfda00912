"""What already exists at a service, brought into MLflow: jobs as runs, models and deployments as versions."""
