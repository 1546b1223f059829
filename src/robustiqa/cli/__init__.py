"""The command line. Nothing heavy is imported before a verb does its work, so that `--help` answers at once."""
