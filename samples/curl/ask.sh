#!/bin/sh
# Weir with curl: ask, stream, leave and come back by position, stop. Needs curl, grep, sed, and nothing else.
#
#   WEIR_URL=http://127.0.0.1:8000 sh ask.sh 'Say hello'
set -eu

url=${WEIR_URL:-http://127.0.0.1:8000}
# A question with quotes or line breaks in it would have to be written as JSON says; this script does not do that.
question=${1:-/count 10}

# --no-buffer shows each event when it comes. A key on a command line can be seen by others on the same machine, so it
# goes in by curl's configuration.
weir() {
    path=$1
    shift
    printf '%s\n' "${WEIR_API_KEY:+header = \"authorization: Bearer $WEIR_API_KEY\"}" |
        curl --config - --silent --show-error --no-buffer "$@" "$url$path"
}

create() {
    body=$1
    shift
    weir /v1/responses --header 'content-type: application/json' --data "$body" "$@"
}

# Good enough to look at; a program would read the JSON.
id_of() { grep -o 'resp_[0-9a-f]*' | head -n 1; }
position_of() { sed -n 's/.*"sequence_number":\([0-9]*\).*/\1/p' | tail -n 1; }
text_of() { sed -n 's/.*"type":"response.output_text.delta".*"delta":"\([^"]*\)".*/\1/p' | tr -d '\n'; }
status_of() { grep -o '"status":"[a-z_]*"' | head -n 1; }

echo '== One JSON document, when the answer has ended'
create "{\"model\":\"demo\",\"input\":\"$question\"}" | grep -o '"text":"[^"]*"' | head -n 1

echo '== Server-Sent Events, each when it is made'
create "{\"model\":\"demo\",\"input\":\"$question\",\"stream\":true}" | grep '^event:'

echo '== NDJSON: the same events, one line each'
create "{\"model\":\"demo\",\"input\":\"$question\",\"stream\":true}" --header 'accept: application/x-ndjson' | text_of
echo

echo '== In the background: the id comes at once, and the answer goes on without us'
id=$(create "{\"model\":\"demo\",\"input\":\"$question\",\"background\":true}" | id_of)
echo "its id begins with $(printf %.5s "$id")"

echo '== Read the first six events and hang up'
# curl says that it could not write, which is what hanging up is.
first=$(weir "/v1/responses/$id?stream=true" --header 'accept: application/x-ndjson' 2>/dev/null | head -n 6)
position=$(printf '%s\n' "$first" | position_of)
printf '%s\n' "$first" | text_of
echo " …up to event $position"

echo '== Come back after it'
rest=$(weir "/v1/responses/$id?stream=true&starting_after=$position" --header 'accept: application/x-ndjson')
printf '%s\n' "$rest" | text_of
echo
echo "whole: $(printf '%s\n%s\n' "$first" "$rest" | text_of)"

echo '== Stop: the model is no longer paid, and the text so far stays'
id=$(create '{"model":"demo","input":"/count 100000","background":true}' | id_of)
weir "/v1/responses/$id/cancel" --request POST | status_of
weir "/v1/responses/$id" | status_of
