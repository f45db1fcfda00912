"""What was asked and answered: kept on disk so that no answer is paid for twice."""
