# Read by the scripts beside it: the package is the checkout's, and what the machine's interpreter
# PYTHON lacks comes from the folder WHEELS, put into a folder that goes with the script.
export PYTHON=${PYTHON:-python3} HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" \
        "$WHEELS"/*.whl || exit 2
    export PYTHONPATH=$PYTHONPATH:$site
fi
