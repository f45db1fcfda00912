"""Fine-tuning jobs: submitted once, watched live, owned until they are proved to have ended."""
