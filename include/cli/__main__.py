"""``python -m include.cli``: the same as the ``assetflow`` command."""

from include.cli.main import app

if __name__ == "__main__":
    app()
