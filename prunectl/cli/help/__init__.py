"""The help of commands: options in groups, examples, and what a wrong option may have meant."""
