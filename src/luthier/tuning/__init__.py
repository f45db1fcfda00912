"""Fine-tuning jobs: submitted once, watched live, and never left unattended until the service confirms their end."""
