"""Decisions about an exchange: where it goes and whose credential travels along. Pure."""
