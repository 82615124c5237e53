"""What a rank tells about itself: reports over the pipe, logs, samples, rates.

Knows no network and no model; imported by supervisor, worker and API process alike.
"""
