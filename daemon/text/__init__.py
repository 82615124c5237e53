"""Text on both sides of the tokens: templates, streaming decoding, stops, reasoning, tool calls."""
