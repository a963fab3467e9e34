"""Checks that give a verdict on a candidate before traffic sees it."""
