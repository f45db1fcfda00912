"""The first minutes: a task and specs guessed from a table, and the story of the quickstart."""
