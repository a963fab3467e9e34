"""What counts say and how sure that is: intervals, paired tests, several tests at once."""
