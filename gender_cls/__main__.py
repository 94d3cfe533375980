"""`gender-cls COMMAND ...` or `python -m gender_cls COMMAND ...`: list the commands, or do what one of them does."""

import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from gender_cls.cli.commands import COMMANDS, COMPLETION, version_line

HELP = ("-h", "--help", "help")


def main() -> None:
    """Read the first argument, and hand the others over to the command that it names."""
    name, *arguments = sys.argv[1:] or HELP[:1]
    if name in HELP:
        print(_overview())
    elif name in ("-V", "--version"):
        print(version_line())
    elif name == COMPLETION:
        from gender_cls.cli.completion import complete

        sys.exit(complete(arguments))
    elif name in COMMANDS:
        is_package = Path(__file__).with_name(name).is_dir()
        module = import_module(f"gender_cls.{name}.__main__" if is_package else f"gender_cls.{name}")
        sys.argv[:] = [f"gender-cls {name}", *arguments]
        module.main()
    else:
        sys.exit(f"error: {_unknown(name)}")


def _overview() -> str:
    width = max(map(len, [*COMMANDS, COMPLETION])) + 2
    lines = [f"  {name:{width}}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "Compare image classifiers on CCTV crops: train, explain, sweep, test, use.",
            "",
            "  gender-cls COMMAND KEY=VALUE ...   or python -m gender_cls.COMMAND KEY=VALUE",
            "  gender-cls COMMAND --help          its keys, with meanings and defaults",
            "  gender-cls --version",
            "",
            *lines,
            f'  {COMPLETION:{width}}complete with Tab: eval "$(gender-cls completion bash)"',
        ]
    )


def _unknown(name: str) -> str:
    known = [*COMMANDS, COMPLETION]
    if "=" in name or name.startswith("-"):
        return f"name the command before {name}, such as gender-cls train {name}; there are {', '.join(known)}."
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? There are" if close else "there are"
    return f"there is no command {name}; {hint} {', '.join(known)}."


if __name__ == "__main__":
    main()
