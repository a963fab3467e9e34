"""The command line, one file per noun; each noun is imported inside its command."""
