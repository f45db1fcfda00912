"""A prompt: its template and wording, examples, objective and answer."""
