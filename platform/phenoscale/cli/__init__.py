"""The command line: one explicit table of verbs, and flags made from their configs."""
