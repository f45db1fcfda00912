"""An LLM judge: a prompt spec that rates the answers of other specs, and how far it can be trusted."""
