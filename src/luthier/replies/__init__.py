"""What an endpoint answered, read: texts, scores, failures."""
