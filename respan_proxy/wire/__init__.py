"""Bytes to frames and back: event streams, JSON arrays, headers, encodings, and edits of JSON text."""
