"""The certificate of a running server, read again for the connections that come."""

from __future__ import annotations

import logging
import ssl

from forcegate_service.settings import Settings

__all__ = ["reload_certificate"]

logger = logging.getLogger(__name__)


def reload_certificate(context: ssl.SSLContext, settings: Settings) -> bool:
    """Have ``context`` show what the files of ``settings`` hold now; whether it does.

    A pair that cannot be used changes nothing, and the log says why: connections that are open go
    on, and new ones get the certificate that was there.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    assert certificate is not None
    try:
        # Tried aside: half a pair in the context in use would refuse everybody.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
        context.load_cert_chain(certificate, key, _no_password)
    except (OSError, ValueError) as error:
        logger.error("the certificate stays as it was: %s with %s: %s", certificate, key, error)
        return False
    logger.info("the certificate %s was read again", certificate)
    return True


def _no_password() -> str:
    """What a key with a password is told, so that nobody is asked at a terminal.

    Raises:
        ValueError: always.
    """
    raise ValueError("the key has a password")
