"""From the log to one commit: who owns a partition, when its checkpoint is taken, what fences it."""
