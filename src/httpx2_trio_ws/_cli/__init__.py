"""The command line's client: ``python -m httpx2_trio_ws URL``. Nothing else imports it."""
