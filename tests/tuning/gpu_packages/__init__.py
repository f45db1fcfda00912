"""Stand-ins for torch, datasets, peft, transformers and trl: what the training program calls of them, without weights.

The environment of the tests finds them as top-level modules. Settings are those of the published packages (trl 1.16.0,
transformers 5.20.2, peft 0.21.2), whose names are in the text files; another name is refused.
"""
