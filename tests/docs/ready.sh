# What most pages take for granted, for their first comment: ". tests/docs/ready.sh", in the folder of the project.
# It installs, and starts the sandbox; with "prefect" behind it, also a Prefect server, which PREFECT_API_URL names.

wait_for() {
    curl --silent --fail --output /dev/null --retry 120 --retry-connrefused --retry-delay 1 "$1"
}

# Ctrl-C in the terminal that was opened last, and a wait until what ran there has ended.
interrupt() {
    local child
    child=$(cat /proc/"$(cat ~/terminal)"/task/*/children)
    child=${child%% *}
    kill -INT "$child"
    for _ in $(seq 60); do
        [ -e "/proc/$child" ] || return 0
        sleep 1
    done
    return 1
}

make install
export PATH="$PWD/.venv/bin:$PATH" BOUNCER_API_BASE_URL=http://127.0.0.1:8386/v1.1 BOUNCER_API_KEY=sandbox-key
export POLL_SECONDS_MIN=1 POLL_SECONDS_MAX=2
bouncer-flows sandbox --port 8386 &
if [ "${1:-}" = prefect ]; then
    export PREFECT_HOME="$PWD/prefect" PREFECT_API_URL=http://127.0.0.1:4286/api
    export PREFECT_API_AUTH_STRING=admin:some-password
    PREFECT_SERVER_API_AUTH_STRING="$PREFECT_API_AUTH_STRING" \
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=http://127.0.0.1:4286 \
        PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem \
        prefect server start --port 4286 &
    wait_for http://127.0.0.1:4286/api/health
fi
wait_for http://127.0.0.1:8386/_sandbox/ledger
# What each further terminal begins with.
export -p > ~/.terminal
echo 'echo $$ > ~/terminal' >> ~/.terminal
