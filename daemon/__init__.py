"""One rank of a cluster: supervisor, worker and, on rank 0, the OpenAI API process."""

__version__ = "0.1.0"
