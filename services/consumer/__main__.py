"""``python -m services.consumer``: one consuming process."""

import sys

from services.consumer.consumer import main

if __name__ == "__main__":
    sys.exit(main())
