"""A search over the settings of a spec: trials, early stopping, money, the honest winner."""
