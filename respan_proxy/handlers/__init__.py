"""One behaviour per file: `async def (exchange, call_next) -> Reply`, in the order that app.py lists."""
