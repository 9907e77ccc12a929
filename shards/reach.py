"""Does the hub answer? Asked once, under a deadline, before `datasets` starts to retry for minutes."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request

REACH_DEADLINE_S = 5.0


def hub_endpoint() -> str:
    """Return the address of the hub: ``$HF_ENDPOINT``, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def unreachable(endpoint: str, deadline_s: float = REACH_DEADLINE_S) -> str | None:
    """Return why `endpoint` gives no reply of any kind within `deadline_s` seconds, None when it gives one."""
    outcome: list[str | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=deadline_s).close()
            outcome.append(None)
        except urllib.error.HTTPError as reply:  # any status is an answer
            reply.close()
            outcome.append(None)
        except (OSError, ValueError) as error:
            outcome.append(str(getattr(error, "reason", error)))

    # A thread, because resolving a name knows no time limit; a daemon, because it may outlive the deadline.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline_s)
    return outcome[0] if outcome else f"no reply within {deadline_s:g} s"


def prepare_hub() -> str | None:
    """Get ready for importing `datasets`; return why the hub does not answer, None when it does.

    When it does not, `datasets` is held to its local cache: on its own it would retry for minutes. It is never allowed to run
    code that a data set brings (the versions that would, obey the variable).
    """
    os.environ["HF_DATASETS_TRUST_REMOTE_CODE"] = "0"
    problem = unreachable(hub_endpoint())
    if problem is not None:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
        return f"{hub_endpoint()} does not answer: {problem}"
    return None
