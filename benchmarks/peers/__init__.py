"""What runs in .venv-bench: other people's libraries, doing what ours does, each through its own documented or live entry point."""
