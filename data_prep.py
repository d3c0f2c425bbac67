"""1. Download Fashionpedia and paint the masks."""

import config
from clothseg import cli

if __name__ == "__main__":
    cli.start("prepare", config)
