"""The command `completion`: print the script that a shell loads to complete greenroom's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from greenroom.cli.call import examples


@click.command(
    epilog=examples(
        'bash, in ~/.bashrc:                   eval "$(greenroom completion bash)"',
        'zsh, in ~/.zshrc after compinit:      eval "$(greenroom completion zsh)"',
        "fish, once:                           greenroom completion fish > ~/.config/fish/completions/greenroom.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script for a shell."""
    from greenroom.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(cli, {}, "greenroom", "_GREENROOM_COMPLETE").source())
    return 0
