"""Files, fine-tuning jobs and batches of the embedded server: kept on disk, worked off one after another."""
