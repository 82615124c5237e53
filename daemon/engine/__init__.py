"""Decides what the ranks do next. Knows no mlx and no grpc: it never computes and never sends."""
