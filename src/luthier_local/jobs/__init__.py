"""Files, fine-tuning jobs and batches of the embedded server: kept on disk and processed one after another."""
