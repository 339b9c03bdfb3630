"""What an app tells of itself: OTLP becomes spans, spans become rows in Respan's words, and a row finds the gateway call it is of.

otlp (bytes <-> spans), vocabularies (four generations of attribute names, OpenInference and Respan's own -> one `Told`),
linking (which spans and which call are the same thing).
"""
