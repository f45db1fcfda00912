"""Better prompts: proposed, raced on training rows, and measured on rows that the choice never saw."""
