"""Passing on: every call and span that was committed goes to the collectors of `[[export]]` as OTLP, beside the database, later, and
without anybody waiting.

What waits are ids; the rows are read back when their turn comes. running (which exporters there are), exporter (one: its queue and its
batches), collector (one post, tried again).
"""
