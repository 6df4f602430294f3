# Puts a question: nothing is written on the host, and nothing of it is left when it ends or its time is over.
# A text that came behind this program. A connection that breaks in the middle of it ends it early.
if [ -n "$fl_size" ]; then
  fl_script=$(cat)
  [ "${#fl_script}" = "$fl_size" ] || fl_no "the question did not arrive whole"
fi
fl_setsid=setsid
command -v setsid >/dev/null 2>&1 || fl_setsid=
fl_go
# The host itself keeps the limit: it holds also where the connection is gone.
sleep "$fl_limit" >/dev/null 2>&1 &
fl_dog=$!
# The text comes by a pipe: a command line can be read by everybody, and a file would have to be removed. The session is
# its own, so that all its processes can be found.
# shellcheck disable=SC2016 # That shell expands it, and not this one.
{
  printf '%s\n' "$fl_script" |
    FLEETLIFT_TOKEN=$fl_token $fl_setsid /bin/sh -c 'fl_text=$(cat); exec </dev/null; eval "unset fl_text; $fl_text"' fleetlift
  fl_code=$?
  kill "$fl_dog" 2>/dev/null
  exit "$fl_code"
} &
fl_asker=$!
if ! wait "$fl_dog" 2>/dev/null; then
  wait "$fl_asker" 2>/dev/null
  fl_end "$?"
fi

# Sets fl_session to the session of the process $1.
fl_find_session() {
  fl_line=
  { read -r fl_line <"/proc/$1/stat"; } 2>/dev/null || :
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- ${fl_line##*) }
  fl_session=$4
}

fl_pid=
fl_list
fl_find_session "$$"
fl_own=$fl_session
# All that it started is in its session, also what has lost its token. What has not come as far as to have its own session is
# still in ours, where others are as well.
for fl_one in ${fl_setsid:+$fl_found}; do
  fl_find_session "$fl_one"
  if [ -n "$fl_session" ] && [ "$fl_session" != "$fl_own" ]; then
    fl_pid=$fl_session
    break
  fi
done
if [ ! -r /proc/self/stat ]; then
  kill -s KILL "$fl_asker" 2>/dev/null
  fl_end alive
fi
if [ -z "$fl_found" ]; then
  # It ended by itself in the last moment.
  wait "$fl_asker" 2>/dev/null
  fl_end "$?"
fi
if fl_end_all TERM 1 || fl_end_all KILL 50; then
  fl_end gone
fi
fl_end alive
