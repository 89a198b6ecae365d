"""``python -m forcegate_monitoring``: write all of it, or with ``--check`` say what differs."""

from __future__ import annotations

import sys

from forcegate_monitoring.generated import generated, root


def main(arguments: list[str]) -> int:
    """The exit code: 1 if something differs and was only to be checked."""
    check = arguments == ["--check"]
    if arguments and not check:
        received = " ".join(arguments)
        print(f"usage: python -m forcegate_monitoring [--check], not {received}", file=sys.stderr)
        return 2
    different = False
    for name, content in generated().items():
        path = root() / name
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        different = True
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        print(f"{'differs' if check else 'written'}: {name}")
    if check and different:
        print("some files are not what is written today; call `make monitoring`", file=sys.stderr)
    return int(check and different)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
