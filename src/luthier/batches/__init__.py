"""The Batch API of a service as a way to fill the journal: half the price, within a day."""
