"""SQLite, and nothing else knows SQL: one writer with group commit, short-lived readers, retention."""
