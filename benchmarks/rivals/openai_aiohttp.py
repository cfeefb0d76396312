"""The `openai` client over aiohttp, its own faster transport."""

from __future__ import annotations

from asking import main
from openai import DefaultAioHttpClient
from openai_httpx import opened

if __name__ == "__main__":
    main(lambda given: opened(given, DefaultAioHttpClient()))
