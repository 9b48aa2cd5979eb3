#!/usr/bin/env bash
# Run deploy/nginx.conf on this machine, with gunicorn behind it and a temporary certificate, and
# send hooks through it. This takes about 30 seconds, and exits with 1 if anything is WRONG.
#
#   deploy/try-nginx.sh            with the virtual environment that `make` sets up
#   BIN=/path/to/bin deploy/try-nginx.sh
#
# It changes only the port and the paths of certificate, socket and logs.
set -euo pipefail
cd "$(dirname "$0")/.."

BIN=${BIN:-$PWD/.venv/bin}
export PATH=$PATH:/usr/sbin:/sbin
missing=()
for program in nginx openssl curl; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if ((${#missing[@]})); then
    echo "Not installed: ${missing[*]}. Debian, Ubuntu: apt-get install nginx-light openssl curl" >&2
    exit 1
fi
if [[ ! -x $BIN/gunicorn ]]; then
    echo "No gunicorn in $BIN: run 'make demo' once, or set BIN to another folder." >&2
    exit 1
fi

dir=$(mktemp -d)
nginx_pid='' service_pid='' trickle_pid=''
clean_up() {
    # shellcheck disable=SC2086 # one word for each running process
    kill $nginx_pid $service_pid $trickle_pid 2>/dev/null || true
    wait
    rm -rf "$dir"
}
trap clean_up EXIT

port=$("$BIN/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
user=okta password="through-nginx-$RANDOM$RANDOM"

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=hooks.example.com \
    -addext subjectAltName=DNS:hooks.example.com -keyout "$dir/key" -out "$dir/certificate" 2>/dev/null

sed -e "s|listen 443 |listen $port |; s|listen \[::\]:443 .*|# no IPv6 here|" \
    -e "s|/etc/letsencrypt/.*/fullchain.pem|$dir/certificate|" \
    -e "s|/etc/letsencrypt/.*/privkey.pem|$dir/key|" \
    -e "s|/run/okta-hooks/gunicorn.sock|$dir/socket|" \
    -e "s|/var/log/nginx/|$dir/|" deploy/nginx.conf >"$dir/okta-hooks.conf"
{
    if ((EUID == 0)); then echo 'user root;'; fi
    echo "daemon off; pid $dir/nginx.pid; error_log $dir/nginx.error.log;"
    echo "events { worker_connections 512; } http {"
    for kind in client_body proxy fastcgi uwsgi scgi; do
        echo "${kind}_temp_path $dir/$kind;"
    done
    echo "include $dir/okta-hooks.conf; }"
} >"$dir/nginx.conf"
nginx -t -q -e "$dir/nginx.error.log" -c "$dir/nginx.conf"

AUTH_MODE=basic BASIC_AUTH_USER=$user BASIC_AUTH_PASSWORD=$password MAX_CONTENT_LENGTH=1048576 \
    LOG_LEVEL=DEBUG LOG_FORMAT=text WEB_CONCURRENCY=1 \
    "$BIN/gunicorn" -b "unix:$dir/socket" >"$dir/service.log" 2>&1 &
service_pid=$!
nginx -e "$dir/nginx.error.log" -c "$dir/nginx.conf" &
nginx_pid=$!

hook() {  # hook PATH [curl's arguments]: print the answer's status, put its body in $dir/answer
    local path=$1
    shift
    curl --silent --max-time 10 --cacert "$dir/certificate" --noproxy '*' \
        --resolve "hooks.example.com:$port:127.0.0.1" --output "$dir/answer" --write-out '%{http_code}' \
        --header 'Content-Type: application/json' --header 'User-Agent: Okta-Integrations' \
        "$@" "https://hooks.example.com:$port$path" || true
}

wrong=0
check() {  # check WHAT EXPECTED SEEN
    if [[ $3 == "$2" ]]; then
        printf 'ok     %-47s %s\n' "$1" "$3"
    else
        printf 'WRONG  %-47s %s, not %s\n' "$1" "$3" "$2"
        wrong=1
    fi
}

statuses_of() {  # statuses_of HOW_MANY PATH [curl's arguments]: send many requests, print each status once
    local i
    for ((i = 0; i < $1; i++)); do
        printf 'url = "https://hooks.example.com:%s%s"\noutput = /dev/null\n' "$port" "$2"
    done >"$dir/requests"
    curl --silent --parallel --max-time 30 --cacert "$dir/certificate" --noproxy '*' \
        --resolve "hooks.example.com:$port:127.0.0.1" --header 'Content-Type: application/json' \
        --write-out '%{http_code}\n' --config "$dir/requests" "${@:3}" 2>/dev/null | sort -u | paste -sd ' '
}

lines_with() {  # lines_with TEXT FILE...: print their number
    cat "${@:2}" | grep -c -F -e "$1" || true
}

raw() {  # raw BYTES: print the answer's status, put its body in $dir/answer
    printf '%b' "$1" | timeout 10 openssl s_client -quiet -connect "127.0.0.1:$port" \
        >"$dir/answer" 2>/dev/null || true
    head -n 1 "$dir/answer" | cut -d ' ' -f 2
}

refused() {  # refused WHAT STATUS SEEN: like check, and the body must be JSON that has the status
    check "$1" "$2" "$3"
    local body='{"error": {"errorSummary": "Refused by the proxy ('$2')", "errorCauses": []}}'
    check "  its answer is the proxy's JSON" 1 "$(lines_with "$body" "$dir/answer")"
}

is_cut() {  # is_cut BYTES: print yes if nginx closes a connection that sends only these
    local status=0
    rm -f "$dir/pipe" && mkfifo "$dir/pipe"
    {
        printf '%b' "$1" >&3
        timeout 20 openssl s_client -quiet -connect "127.0.0.1:$port" <&3 >/dev/null 2>&1 || status=$?
    } 3<>"$dir/pipe"
    ((status == 124)) && echo no || echo yes
}

for _ in {1..200}; do
    [[ $(hook /healthz) == 200 ]] && break
    sleep 0.1
done

pair=(--user "$user:$password")
event='{"eventId": "e1", "data": {"events": []}}'
registration='{"requestType": "self.service.registration", "data": {"userProfile": {"email": "a@okta.com"}}}'
head -c 1048577 /dev/zero | tr '\0' ' ' >"$dir/large"
head -c 1048576 "$dir/large" >"$dir/largest"

check 'event hook, right pair' 204 "$(hook /userCreated "${pair[@]}" --data "$event")"
check 'inline hook, right pair' 200 "$(hook /registrationHookSSR "${pair[@]}" --data "$registration")"
check '  its answer' 1 "$(lines_with '"registration":"ALLOW"' "$dir/answer")"
check 'wrong pair' 401 "$(hook /userCreated --user "$user:wrong" --data "$event")"
check 'unknown path, no pair' 401 "$(hook /no-such-path --data "$event")"
check 'body of 1 MiB that is not JSON' 400 "$(hook /userCreated "${pair[@]}" --data-binary "@$dir/largest")"
refused 'body over 1 MiB' 413 "$(hook /userCreated "${pair[@]}" --data-binary "@$dir/large")"
check 'the same, chunked' 413 "$(hook /userCreated "${pair[@]}" -H 'Transfer-Encoding: chunked' --data-binary "@$dir/large")"
refused 'headers over 32 KiB' 400 "$(hook /userCreated "${pair[@]}" -H "X-Long: $(head -c 32768 /dev/zero | tr '\0' x)")"

hook /userCreated "${pair[@]}" --data "$event" --interface 127.0.0.2 -H 'X-Okta-Request-Id: forged' \
    -H 'X-Forwarded-For: 192.0.2.66' -H 'X_Forwarded_For: 192.0.2.66' >"$dir/status"
check 'forged X-Forwarded-For' 204 "$(<"$dir/status")"
check '  lines that believe it' 0 "$(lines_with 192.0.2.66 "$dir/"*.log)"
check '  client address in the service'\''s log' forwarded_for=127.0.0.2 \
    "$(grep -F request_id=forged "$dir/service.log" | grep -o 'forwarded_for=[^ ]*')"

long=$(head -c 2500 /dev/zero | tr '\0' y)
refused 'a request line that is not HTTP' 400 "$(hook /userCreated --request 'NO METHOD')"
refused 'a request without TLS' 400 \
    "$(curl --silent --noproxy '*' --output "$dir/answer" --write-out '%{http_code}' "http://127.0.0.1:$port/")"
refused 'path over 8 KiB' 414 "$(hook "/$long$long$long$long")"
refused 'method TRACE' 405 "$(hook /userCreated --request TRACE)"
refused 'method CONNECT' 405 "$(raw 'CONNECT /userCreated HTTP/1.1\r\nHost: x\r\n\r\n')"
refused 'an unknown Transfer-Encoding' 501 "$(hook /userCreated -H 'Transfer-Encoding: gzip' --data '{}')"
refused 'HTTP/3.0 in the request line' 505 "$(raw 'POST /userCreated HTTP/3.0\r\nHost: x\r\n\r\n')"
check 'a 405 of the service, which passes unchanged' 405 "$(hook /userCreated "${pair[@]}" --request DELETE)"
check '  mentions of the proxy in its answer' 0 "$(lines_with 'Refused by the proxy' "$dir/answer")"
check 'path and request ID of 2,500 characters' 401 \
    "$(hook "/${long//yyy/%01}" -H "X-Okta-Request-Id: $long")"
check '  lines of over 2,000 characters, in any log' 0 "$(cat "$dir/"*.log | grep -c '.\{2001\}' || true)"

hook '/userCreated?token=in-the-query' "${pair[@]}" --data "$event" >"$dir/status"
check 'lines with a query string, in any log' 0 "$(lines_with in-the-query "$dir/"*.log)"

check 'half a request is cut off' yes "$(is_cut 'POST /userC')"
check 'half a body is cut off' yes \
    "$(is_cut 'POST /userCreated HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')"

# With 1,500 requests, a machine of any speed exceeds 100 a second and 150 waiting.
check 'flood of wrong pairs from one address' '401 503' \
    "$(statuses_of 1500 /tokenHook --parallel-max 200 --user "$user:wrong" --data '{}')"
check '  meanwhile, from another address' 204 \
    "$(hook /userCreated "${pair[@]}" --interface 127.0.0.3 --data "$event")"

# From one address, send more bodies than nginx has connections, each one byte a second. They start
# slowly enough for limit_req.
"$BIN/python" - "$port" "$dir/trickling" <<'PYTHON' &
import contextlib, pathlib, socket, ssl, sys, threading, time

held = []

def trickle():
    while True:
        for connection in list(held):
            try:
                connection.sendall(b" ")
            except OSError:
                held.remove(connection)
        time.sleep(1)

threading.Thread(target=trickle, daemon=True).start()
context = ssl._create_unverified_context()
for number in range(600):
    with contextlib.suppress(OSError):
        plain = socket.create_connection(("127.0.0.1", sys.argv[1]), 2, ("127.0.0.4", 0))
        connection = context.wrap_socket(plain)
        connection.sendall(b"POST /userCreated HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        held.append(connection)
    time.sleep(0.011)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
PYTHON
trickle_pid=$!
until [[ -e $dir/trickling ]]; do sleep 0.1; done
for _ in 1 2 3; do
    check 'from another address, beside 600 slow bodies' 204 \
        "$(hook /userCreated "${pair[@]}" --interface 127.0.0.3 --data "$event")"
    sleep 1
done
kill "$trickle_pid"
wait "$trickle_pid" 2>/dev/null || true
trickle_pid=''

statuses_of 400 /userCreated --parallel-max 4 "${pair[@]}" --data "$event" >"$dir/statuses" &
for _ in 1 2; do
    sleep 1
    kill -HUP "$service_pid"
done
wait $!
check 'gunicorn reloaded twice under load' 204 "$(<"$dir/statuses")"

check 'lines with the password, in any log' 0 \
    "$(lines_with "$password" "$dir/"*.log)"
check 'lines with the Authorization header' 0 \
    "$(lines_with "$(printf %s "$user:$password" | base64 -w0)" "$dir/"*.log)"

kill "$service_pid"
wait "$service_pid" || true
service_pid=''
refused 'the service is down' 502 "$(hook /userCreated "${pair[@]}" --data "$event")"
exit "$wrong"
