"""`gender-cls completion bash`: what a shell needs to complete command lines, and the answers that it asks for.

Hydra knows groups, their options and keys; the rest here is about commands, flags, lists between commas and values.
"""

import os
import shlex
import sys
from contextlib import suppress
from enum import Enum
from glob import escape, glob
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra.plugins.completion_plugin import DefaultCompletionPlugin

from gender_cls.cli.command_line import hydra_with
from gender_cls.cli.commands import COMMANDS, COMPLETION, SHELLS
from gender_cls.cli.help import SET_BY_COMMAND
from gender_cls.config.checks import Rule, absolute
from gender_cls.config.local_defaults import command_groups
from gender_cls.config.parsing import COMPOSED, CONFIG_FOLDER, DEFAULT_DATA

FLAGS = {"--help": (), "--version": (), "--cfg": ("job", "hydra", "all"), "--resolve": (), "--config-dir": None}
"""Flag -> the words that may follow it; None: a path."""
SWEEPING = ("-m", "--multirun")

BASH = """\
_gender_cls() {{
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDBREAKS="$COMP_WORDBREAKS" {program} query bash "${{COMP_LINE:0:COMP_POINT}}" 2>/dev/null))
    [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[=./] ]] && compopt -o nospace
}}
_gender_cls_python() {{
    [[ ${{COMP_LINE:0:COMP_POINT}} =~ ^[^\\ ]+\\ +-m\\ +gender_cls ]] && _gender_cls
}}
complete -o nosort -F _gender_cls gender-cls
complete -o nosort -o bashdefault -o default -F _gender_cls_python python python3
"""
ZSH = """\
#compdef gender-cls
_gender_cls() {{
    local -a all open whole
    all=("${{(@f)$({program} query zsh "${{(@)words[1,CURRENT-1]}}" "$PREFIX" 2>/dev/null)}}")
    open=(${{(M)all:#*[=./]}})
    whole=(${{all:#*[=./]}})
    compadd -Q -S '' -- $open
    compadd -Q -- $whole
}}
_gender_cls_python() {{
    if [[ $words[2] == -m && $words[3] == gender_cls* ]]; then _gender_cls; else _python; fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -u; }}
autoload -Uz _python
compdef _gender_cls gender-cls
compdef _gender_cls_python python python3
"""
FISH = """\
function _gender_cls
    {program} query fish (commandline -opc) (commandline -ct) 2>/dev/null
end
complete -c gender-cls -f -k -a '(_gender_cls)'
for name in python python3
    complete -c $name -n 'string match -qr "^\\S+ +-m +gender_cls" -- (commandline -cp)' -f -k -a '(_gender_cls)'
end
"""
_SCRIPTS = dict(zip(SHELLS, (BASH, ZSH, FISH), strict=True))


def complete(arguments: list[str]) -> str | int:
    """Print a shell's script, or the answers to its `query`; returns what `sys.exit` takes."""
    match arguments:
        case [shell] if shell in SHELLS:
            program = shlex.join([sys.executable, "-m", "gender_cls", COMPLETION])
            print(_SCRIPTS[shell].format(program=program), end="")
            return 0
        case ["query", "bash", line]:
            print("\n".join(_after_breaks(line, answers(_words(line)))))
            return 0
        case ["query", "zsh" | "fish", *words]:
            print("\n".join(answers(words)))
            return 0
    shells = ", ".join(SHELLS)
    return f'error: name your shell ({shells}), for example: eval "$(gender-cls {COMPLETION} bash)" in ~/.bashrc.'


def _words(line: str) -> list[str]:
    """The words of a line, of which the last is being typed, maybe within quotes."""
    for end in ("", "'", '"'):
        with suppress(ValueError):
            return [*shlex.split(line + end), *([""] if line[-1:].isspace() and not end else [])]
    return []


def _after_breaks(line: str, found: list[str]) -> list[str]:
    """The part of each answer that bash puts in: it takes a sign such as `=` for the end of a word."""
    try:
        shlex.split(line)
    except ValueError:  # within quotes it does not
        return found
    breaks = set(os.environ.get("COMP_WORDBREAKS", "=:")) - {" ", "\t", "\n", '"', "'"}
    word = (_words(line) or [""])[-1]
    typed = max((word.rfind(sign) + 1 for sign in breaks), default=0)
    return [one[typed:] for one in found]


def answers(words: list[str]) -> list[str]:
    """What the last word of a command line can become."""
    if len(words) > 2 and words[1] == "-m":
        _, _, module, *rest = words  # python -m gender_cls, or python -m gender_cls.train
        names = module.split(".")[1:]
        if not rest:
            return [f"gender_cls.{name}" for name in COMMANDS if f"gender_cls.{name}".startswith(module)]
        words = [*names[:1], *rest]
    else:
        words = words[1:]
    if len(words) < 2:
        names = [*COMMANDS, COMPLETION, "--help", "--version"]
        return [name for name in names if name.startswith("".join(words))]
    command, *earlier, word = words
    if command == COMPLETION:
        return [shell for shell in SHELLS if shell.startswith(word)]
    if command not in COMMANDS:
        return []
    after = FLAGS.get(earlier[-1] if earlier else "", ())
    if after is None:
        return _paths(word)
    if after:
        return [one for one in after if one.startswith(word)]
    if word.startswith("-"):
        flags = [*FLAGS, *(SWEEPING if command == "train" else ())]
        return [flag for flag in flags if flag.startswith(word)]
    return _overrides(command, earlier, word)


def _overrides(command: str, earlier: list[str], word: str) -> list[str]:
    """Of a word that is, or will be, `key=value` or `group=option`; of a list, its last value is completed."""
    key, assigned, value = word.partition("=")
    begun = max(value.rfind(",") + 1, int(value.startswith("[")))
    before, last = f"{key}={value[:begun]}", value[begun:]
    taken = set(value[:begun].strip("[,").split(","))
    bare = key.lstrip("+~")
    if assigned and bare.partition("/")[0] not in command_groups(command):
        values = setting_values(COMPOSED[command], bare, last)
        return [f"{before}{one}" for one in values if one.startswith(last) and one not in taken]
    asked = f"{key}={last}" if assigned else word
    found = [one for one in _from_hydra(command, earlier, asked) if _offered(command, one, word)]
    if not assigned:  # Hydra leaves out the sign after a group that has another below it, such as search
        return [f"{one}=" if one.lstrip("+") in command_groups(command) else one for one in found]
    return [f"{before}{option}" for option in (one.partition("=")[2] for one in found) if option not in taken]


def _from_hydra(command: str, earlier: list[str], word: str) -> list[str]:
    """Hydra's answer; nothing where what was typed before cannot be composed."""
    own = next((absolute(folder) for flag, folder in pairwise(earlier) if flag == "--config-dir"), None)
    with suppress(Exception), hydra_with(own) as loader:  # of a line that is not complete yet
        plugin = DefaultCompletionPlugin(loader)
        fixed = [one for one in earlier if "=" in one and "," not in one and " " not in one]
        return plugin._query(config_name=command, line=" ".join([*fixed, word]))
    return []


def _offered(command: str, answer: str, word: str) -> bool:
    """Whether an answer of Hydra's is for users: a group of this command, or one of its keys."""
    key = answer.lstrip("+~").rstrip("=").rstrip(".")
    first = key.partition("=")[0].partition("/")[0].partition(".")[0]
    if first == "hydra" or key in SET_BY_COMMAND:
        return word.startswith("hydra")
    if "/" in key or ((CONFIG_FOLDER / first).is_dir() and not answer.endswith(".")):
        return first in command_groups(command)
    return first in get_type_hints(COMPOSED[command]) and first != DEFAULT_DATA


def setting_values(schema: type, key: str, begun: str) -> list[str]:
    """The values that a key can have, if they can be listed: words, true and false, or paths that begin like that."""
    kind: Any = schema
    *sections, last = key.split(".")
    for name in sections:
        kind = get_type_hints(kind).get(name, object) if isinstance(kind, type) else object
    if not isinstance(kind, type):  # a section whose keys are free
        return []
    kind_of_value = get_type_hints(kind).get(last, object)
    field = getattr(kind, "__dataclass_fields__", {}).get(last)
    rule = field.metadata.get("rule", Rule()) if field is not None else Rule()
    if rule.path:
        return _paths(begun)
    if rule.choices:
        return list(rule.choices)
    kinds = [one for part in (kind_of_value, *get_args(kind_of_value)) for one in (part, *get_args(part))]
    values = [member.value for one in kinds if isinstance(one, type) and issubclass(one, Enum) for member in one]
    return [*dict.fromkeys(values), *(["true", "false"] if bool in kinds else []), *(["auto"] if rule.auto else [])]


def _paths(begun: str) -> list[str]:
    """Files and folders that begin like that, a folder with a slash at its end; hidden ones where a dot was typed."""
    home = os.path.expanduser("~")
    expanded = home + begun[1:] if begun.startswith("~/") else begun
    found = sorted(glob(f"{escape(expanded)}*"))
    shown = [f"{path}/" if Path(path).is_dir() else path for path in found]
    return [f"~{path.removeprefix(home)}" if begun.startswith("~/") else path for path in shown]
