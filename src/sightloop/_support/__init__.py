"""Technical helpers without domain words: clock, atomic files, database."""
