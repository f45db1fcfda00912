"""A machine with one card."""


class cuda:  # noqa: N801  (its own name)
    """The card."""

    @staticmethod
    def is_available() -> bool:
        """There is one."""
        return True


class OutOfMemoryError(RuntimeError):
    """As the real one is called."""
