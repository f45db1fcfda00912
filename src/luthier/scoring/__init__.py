"""Tables scored by a packaged model."""
