"""Ask the gateway in this container whether it can serve; the exit code is the answer."""

import http.client
import os
import ssl
import sys


def main() -> int:
    """0 if it is ready, 1 if it is not."""
    # http.client, because unlike urllib it never takes the way through a proxy of the environment.
    address, timeout_s = ("127.0.0.1", int(os.environ.get("FORCEGATE_PORT", "8000"))), 4
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    if os.environ.get("FORCEGATE_TLS_CERTIFICATE"):
        # The certificate names the host that others see, never 127.0.0.1.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(*address, timeout=timeout_s, context=context)
    try:
        connection.request("GET", "/health/ready")
        status = connection.getresponse().status
        if status != http.client.OK:
            print(f"not ready: {status} from port {address[1]}", file=sys.stderr)
        return int(status != http.client.OK)
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from port {address[1]}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
