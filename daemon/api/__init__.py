"""The OpenAI API: requests in, tokens from an `Engine`, text and events out. No grpc, no mlx."""
