"""What is asked of a text, and how a truth, an answer and a prediction of that kind are read."""
