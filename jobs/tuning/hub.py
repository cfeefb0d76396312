"""Training data on the Hugging Face Hub, through the Hub's own client (the extra "hub")."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import BadInput, Fatal

__all__ = ["push"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FILES = ["README.md", "*.jsonl", "*.json", "*.parquet"]


def push(folder: Path, repository: str, *, public: bool) -> str:
    """Upload the files of `folder` to the dataset `repository` (OWNER/NAME), which is created if absent; returns its
    URL.

    The client finds the key and the address itself (``hf auth login``, HF_TOKEN, HF_ENDPOINT). Blocks. Raises
    `BadInput` for an invalid name, a missing or refused key, and when the extra is not installed; `Fatal` for any other
    refusal.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise BadInput(f"--push takes OWNER/NAME, the name of a dataset on the Hub, and not {repository!r}")
    try:
        import httpx2
        import huggingface_hub
    except ImportError as error:
        raise BadInput("--push needs the Hub's client: pip install 'gristmill[hub]'") from error
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    huggingface_hub.utils.disable_progress_bars()
    api = huggingface_hub.HfApi(library_name="gristmill")
    try:
        url = api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=_FILES,
            commit_message="Training data made by gristmill",
        )
    except LocalTokenNotFoundError as error:
        raise BadInput(_LOG_IN) from error
    except HFValidationError as error:
        raise BadInput(f"--push {repository}: {error}") from error
    except HfHubHTTPError as error:
        raise _ours(error, repository) from None
    except (httpx2.HTTPError, OSError) as error:
        raise Fatal(f"the Hub cannot be reached: {error}") from error
    return str(url)


_LOG_IN = "the Hub wants a key that may write: run hf auth login, or set HF_TOKEN"


def _ours(error: Exception, repository: str) -> BadInput | Fatal:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        return BadInput(_LOG_IN)
    if status == 403:
        return BadInput(f"the key may not write to {repository} on the Hub: use a key that may, or another OWNER")
    said = getattr(error, "server_message", None) or str(error).splitlines()[0]
    return Fatal(f"the Hub refused {repository}: {said}")
