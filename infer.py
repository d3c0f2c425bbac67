"""6. Segment photos."""

import config
from clothseg import cli

if __name__ == "__main__":
    cli.start("predict", config)
