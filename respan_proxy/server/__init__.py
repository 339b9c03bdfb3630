"""The aiohttp shell: requests become exchanges, replies become bytes; nothing else imports aiohttp.web."""
