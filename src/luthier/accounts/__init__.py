"""An account at a service: the models it is offered, and its deployments."""
