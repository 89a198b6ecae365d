"""Where structures come from: files of several formats, each readable from any index on."""

from forcegate_client.screening.sources.library import Library, open_library

__all__ = ["Library", "open_library"]
