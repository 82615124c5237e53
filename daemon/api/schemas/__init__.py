"""Request bodies as pydantic models: every parameter of OpenAI's description that we know."""
