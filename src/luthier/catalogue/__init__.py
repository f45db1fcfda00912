"""What is known of models, offline, each fact with its source: tasks, prices, limits, fine-tuning, retirement."""
