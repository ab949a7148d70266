#!/bin/sh
# Brings the database to the version of the code and fills it; what is done already is left alone.
set -eu
python -m meshkit.migrate --all
python -m auth.setup
for loader in services/*/*/load.py; do
  package=$(basename "$(dirname "$loader")")
  python -m "$package.load"
done
